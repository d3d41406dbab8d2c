//! An authority of our own, and servers' certificates from it, good and bad.

use std::sync::Arc;

use calendar_sync::calendar::http::{Guard, Reach, Roots};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::calendars::on_this_machine;

/// The host of these facts.
pub(crate) const HOST: &str = "127.0.0.1";

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    OtherHost,
    /// Of nobody: the server's own.
    SelfSigned,
    Expired,
}

/// The authority.
pub(crate) struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = named("authority.example.com");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// Its certificate, as a file holds it.
    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// How a server presents itself that speaks these protocols, the first rather than the next.
    pub(crate) fn server(&self, flaw: Flaw, protocols: &[&str]) -> TlsAcceptor {
        self.presented(flaw, protocols).0
    }

    /// The same, with the certificate in PEM.
    pub(crate) fn presented(&self, flaw: Flaw, protocols: &[&str]) -> (TlsAcceptor, String) {
        let mut params = named(if flaw == Flaw::OtherHost { "other.example.com" } else { HOST });
        if flaw == Flaw::Expired {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = match flaw {
            Flaw::SelfSigned => params.self_signed(&key),
            Flaw::None | Flaw::OtherHost | Flaw::Expired => params.signed_by(&key, &self.issuer),
        };
        let certificate = certificate.expect("a certificate");
        let pem = certificate.pem();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("the key is the certificate's");
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        (TlsAcceptor::from(Arc::new(config)), pem)
    }
}

/// As the service goes about, with these authorities beside the system's.
pub(crate) fn trusting(pem: &str) -> Reach {
    let Reach::Guarded(guard) = on_this_machine() else { unreachable!("it is guarded") };
    let roots = Roots::parse(pem).expect("certificates");
    Reach::Guarded(Guard { roots, ..guard })
}
