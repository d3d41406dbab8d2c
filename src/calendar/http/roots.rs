//! Whose word for a server is taken: authorities beside the system's own, as a company's server needs
//! them; and what is wrong with a certificate that will not do, in words.

use std::error::Error;
use std::io;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, RootCertStore};

/// The most certificates that are taken from one file.
const ROOTS_MAX: usize = 200;

/// Certificates of authorities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roots(Vec<CertificateDer<'static>>);

impl Roots {
    /// Reads PEM (RFC 7468); anything around the certificates is left out. An error is the end of "the
    /// file …".
    pub fn parse(pem: &str) -> Result<Self, String> {
        let mut roots = Vec::new();
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let at = roots.len() + 1;
            let certificate = certificate.map_err(|_| format!("has no PEM at certificate {at}"))?;
            let added = store.add(certificate.clone());
            added.map_err(|_| format!("holds something else than a certificate at place {at}"))?;
            if at > ROOTS_MAX {
                return Err(format!("holds more than {ROOTS_MAX} certificates"));
            }
            roots.push(certificate);
        }
        if roots.is_empty() {
            return Err("holds no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned());
        }
        Ok(Self(roots))
    }

    /// For the client.
    pub(super) fn into_client(self) -> reqwest::Result<Vec<reqwest::Certificate>> {
        self.0.iter().map(|root| reqwest::Certificate::from_der(root)).collect()
    }
}

/// What is wrong with a server's TLS, if that is why a call failed.
pub(super) fn tls_problem(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // An `io::Error` hides what it was made of from `source`.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref()).or_else(|| error.downcast_ref());
        match tls {
            Some(rustls::Error::InvalidCertificate(problem)) => {
                return Some(format!("the server's certificate {}", in_words(problem)));
            }
            Some(rustls::Error::InvalidMessage(_)) => {
                return Some("the server does not speak TLS there".to_owned());
            }
            _ => {}
        }
        cause = inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the others have good words of their own")]
fn in_words(problem: &CertificateError) -> String {
    match problem {
        CertificateError::UnknownIssuer => {
            "is from no authority that is trusted here; if it is one \
             of your own, add its certificate to http.ca_file (HTTP_CA_FILE)"
                .to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("is for another host: {problem}")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet".to_owned()
        }
        _ => format!("will not do: {problem}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_no_certificate_is_told_by_what_it_holds() {
        let not_one = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for (pem, told) in [
            ("", "holds no certificate in PEM"),
            ("hello", "holds no certificate in PEM"),
            (key, "holds no certificate in PEM"),
            (not_one, "holds something else than a certificate at place 1"),
            (cut, "has no PEM at certificate 1"),
        ] {
            let problem = Roots::parse(pem).unwrap_err();
            assert!(problem.starts_with(told), "{pem:?}: {problem}");
        }
    }
}
