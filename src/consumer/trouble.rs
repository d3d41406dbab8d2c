//! What librdkafka complains of, where the settings are the matter: told by their own names, which
//! librdkafka does not know.

use rdkafka::error::RDKafkaErrorCode as Code;

/// A complaint that somebody can mend in the settings, or at the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    /// The log line's `error_code`.
    pub(super) code: &'static str,
    /// What is wrong, and which settings are about it.
    pub(super) text: &'static str,
}

const LOGIN: Known = Known {
    code: "kafka_login_failed",
    text: "the broker does not let us in: see kafka.sasl_username, kafka.sasl_password and \
           kafka.sasl_mechanism",
};
const CERTIFICATE: Known = Known {
    code: "kafka_not_trusted",
    text: "the broker's certificate is not accepted: see kafka.ssl_ca_location, and whether it is \
           one for the host of kafka.brokers",
};
const TLS: Known = Known {
    code: "kafka_tls_failed",
    text: "there is no TLS with the broker: see kafka.security_protocol, the port in kafka.brokers, \
           and kafka.ssl_certificate_location if the broker asks for one",
};
const PROTOCOL: Known = Known {
    code: "kafka_protocol_differs",
    text: "the broker hangs up, as one does that is spoken to in another protocol: see \
           kafka.security_protocol and the port in kafka.brokers",
};
const TOPIC: Known = Known {
    code: "kafka_not_allowed",
    text: "the account may not read the topic: kafka.sasl_username needs Read and Describe on \
           kafka.topic",
};
const GROUP: Known = Known {
    code: "kafka_not_allowed",
    text: "the account may not join the group: kafka.sasl_username needs Read and Describe on \
           kafka.group",
};

/// What is behind an error, as far as the settings are. `reason` is librdkafka's own (2.12.1,
/// `rdkafka_ssl.c` and `rdkafka_transport.c`): the same failure of TLS comes under either of two codes.
/// Where other words come one day, less is told.
pub(super) fn known(code: Option<Code>, reason: &str) -> Option<Known> {
    let code = code?;
    let may_be_tls = matches!(code, Code::SSL | Code::BrokerTransportFailure);
    // What breaks off, or takes too long, in the midst of greeting says nothing of what was said.
    if reason.contains("Local: ") || reason.contains("timed out") {
        None
    } else if matches!(code, Code::Authentication | Code::SaslAuthenticationFailed) {
        Some(LOGIN)
    } else if code == Code::TopicAuthorizationFailed {
        Some(TOPIC)
    } else if code == Code::GroupAuthorizationFailed {
        Some(GROUP)
    } else if may_be_tls && reason.contains("certificate verify failed") {
        Some(CERTIFICATE)
    } else if code == Code::SSL || may_be_tls && reason.contains("in state SSL_HANDSHAKE") {
        Some(TLS)
    } else {
        None
    }
}

/// What is behind a line of librdkafka's log. A broker that hangs up on the first thing that it is told
/// is an error to nobody there (2.12.1, `rd_kafka_broker_set_error`: the hint at `security.protocol` is
/// meant for it, and looked for in a format instead of a text).
pub(super) fn known_by_line(facility: &str, line: &str) -> Option<Known> {
    let is_it = facility == "FAIL"
        && line.contains(": Disconnected")
        && line.contains("in state APIVERSION_QUERY");
    is_it.then_some(PROTOCOL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table;

    #[test]
    fn the_settings_that_are_told_are_settings() {
        for known in [LOGIN, CERTIFICATE, TLS, PROTOCOL, TOPIC, GROUP] {
            let words = known.text.split_whitespace().map(|word| word.trim_end_matches([',', ':']));
            let keys: Vec<_> = words.filter(|word| word.starts_with("kafka.")).collect();
            assert!(!keys.is_empty(), "{known:?}");
            assert!(keys.iter().all(|key| table::find(key).is_some()), "{known:?}");
        }
    }

    #[test]
    fn a_broker_that_is_merely_away_is_no_matter_of_settings() {
        let refused =
            "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused";
        assert_eq!(known(Some(Code::BrokerTransportFailure), refused), None);
        assert_eq!(known(Some(Code::AllBrokersDown), "1/1 brokers are down"), None);
        assert_eq!(known(None, "certificate verify failed"), None);
        let going = "sasl_ssl://h:1/bootstrap: SaslHandshake Request failed: Local: Broker transport \
                     failure (after 3ms in state AUTH_HANDSHAKE)";
        assert_eq!(known(Some(Code::Authentication), going), None);
        let slow = "sasl_ssl://h:1/bootstrap: Connection setup timed out in state SSL_HANDSHAKE";
        assert_eq!(known(Some(Code::BrokerTransportFailure), slow), None);
        let line = "[thrd:h:1/bootstrap]: h:1/bootstrap: Disconnected (after 700ms in state UP)";
        assert_eq!(known_by_line("FAIL", line), None);
    }

    /// As librdkafka has put them to a real Kafka.
    #[test]
    fn what_the_settings_are_the_matter_of_is_told_by_them() {
        let verify = "sasl_ssl://h:1/bootstrap: error:0A000086:SSL routines::certificate verify failed \
                      (after 9ms in state SSL_HANDSHAKE)";
        let plain = "sasl_ssl://h:1/bootstrap: SSL handshake failed: Disconnected: SSL connection closed \
                     by peer: connecting to a PLAINTEXT broker listener? (after 6ms in state SSL_HANDSHAKE)";
        let closed = "sasl_ssl://h:1/bootstrap: Disconnected: SSL connection closed by peer (after 0ms \
                      in state SSL_HANDSHAKE)";
        for (code, reason, expected) in [
            (Code::Authentication, "", LOGIN),
            (Code::SSL, verify, CERTIFICATE),
            (Code::BrokerTransportFailure, verify, CERTIFICATE),
            (Code::BrokerTransportFailure, plain, TLS),
            (Code::BrokerTransportFailure, closed, TLS),
            (Code::SSL, "error:0A000410:SSL routines::sslv3 alert handshake failure", TLS),
            (Code::TopicAuthorizationFailed, "", TOPIC),
            (Code::GroupAuthorizationFailed, "", GROUP),
        ] {
            assert_eq!(known(Some(code), reason), Some(expected), "{code:?} {reason}");
        }
        let line = "[thrd:h:1/bootstrap]: h:1/bootstrap: Disconnected: connection closed by peer: \
                    receive 0 after POLLIN (after 1ms in state APIVERSION_QUERY)";
        assert_eq!(known_by_line("FAIL", line), Some(PROTOCOL));
    }
}
