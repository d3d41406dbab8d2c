//! Emulators of the providers' APIs, over real HTTP.
