//! PURE: which addresses are no public server's, as data, and what a setting allows beside those
//! that are.
//!
//! The blocks are IANA's: the IPv4 and IPv6 Special-Purpose Address Registries, the IPv4 Multicast
//! Address Space Registry, and of IPv6 all that is not in the Global Unicast block `2000::/3` (IPv6
//! Address Space registry), each with the document that reserves it. What the registries call
//! globally reachable inside a block that is reserved as a whole (192.0.0.9, `2001:1::1`, …) is
//! anycast for other protocols: no calendar is there.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A block of addresses, and what it is there for.
pub struct Block {
    /// The addresses.
    pub net: IpNet,
    /// As the end of "it is …".
    pub what: &'static str,
}

const PRIVATE: &str = "a private address (RFC 1918)";
const LOOPBACK: &str = "this machine's own (loopback, RFC 1122, RFC 4291)";
const LINK_LOCAL: &str = "a link-local address (RFC 3927, RFC 4291)";
const METADATA: &str = "a cloud's metadata service";
const DOCUMENTATION: &str = "for documentation only (RFC 5737, RFC 3849, RFC 9637)";
const BENCHMARK: &str = "for benchmarks only (RFC 2544, RFC 5180)";
const MULTICAST: &str = "a multicast address (RFC 5771, RFC 4291)";
const PROTOCOLS: &str = "reserved for protocols (RFC 6890, RFC 2928)";
const DISCARDED: &str = "where packets are discarded (RFC 6666, RFC 9780)";
const NOT_GLOBAL: &str = "outside the global unicast addresses (2000::/3, RFC 4291)";

const fn v4(a: u8, b: u8, c: u8, d: u8, len: u8, what: &'static str) -> Block {
    Block { net: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), len)), what }
}

/// `high`: the first four groups of the address; `low`: the others.
const fn v6(high: u64, low: u64, len: u8, what: &'static str) -> Block {
    let bits = ((high as u128) << 64) | low as u128;
    Block { net: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), len)), what }
}

/// Where no public server is. The first block that holds an address says what it is.
pub const BLOCKS: &[Block] = &[
    v4(0, 0, 0, 0, 8, "no address of any host (RFC 791)"),
    v4(10, 0, 0, 0, 8, PRIVATE),
    // Alibaba Cloud's.
    v4(100, 100, 100, 200, 32, METADATA),
    v4(100, 64, 0, 0, 10, "a carrier's own (shared address space, RFC 6598)"),
    v4(127, 0, 0, 0, 8, LOOPBACK),
    // Amazon's, Azure's, Google's, Oracle's and most others'; and that of Amazon's containers.
    v4(169, 254, 169, 254, 32, METADATA),
    v4(169, 254, 170, 2, 32, METADATA),
    v4(169, 254, 0, 0, 16, LINK_LOCAL),
    // Azure's platform, at an address that looks public.
    v4(168, 63, 129, 16, 32, METADATA),
    v4(172, 16, 0, 0, 12, PRIVATE),
    // Oracle's, of old.
    v4(192, 0, 0, 192, 32, METADATA),
    v4(192, 0, 0, 0, 24, PROTOCOLS),
    v4(192, 0, 2, 0, 24, DOCUMENTATION),
    v4(192, 88, 99, 0, 24, "a 6to4 relay (RFC 7526)"),
    v4(192, 168, 0, 0, 16, PRIVATE),
    v4(198, 18, 0, 0, 15, BENCHMARK),
    v4(198, 51, 100, 0, 24, DOCUMENTATION),
    v4(203, 0, 113, 0, 24, DOCUMENTATION),
    v4(224, 0, 0, 0, 4, MULTICAST),
    v4(240, 0, 0, 0, 4, "reserved or a broadcast address (RFC 1112, RFC 919)"),
    v6(0, 0, 128, "no address of any host (RFC 4291)"),
    v6(0, 1, 128, LOOPBACK),
    v6(0, 0, 96, "an IPv4 address in a form that is deprecated (RFC 4291)"),
    v6(0x0064_ff9b_0001_0000, 0, 48, "behind somebody's own NAT64 (RFC 8215)"),
    v6(0x0100_0000_0000_0000, 0, 64, DISCARDED),
    v6(0x0100_0000_0000_0001, 0, 64, DISCARDED),
    v6(0x2001_0000_0000_0000, 0, 32, "a Teredo tunnel (RFC 4380)"),
    v6(0x2001_0002_0000_0000, 0, 48, BENCHMARK),
    v6(0x2001_0000_0000_0000, 0, 23, PROTOCOLS),
    v6(0x2001_0db8_0000_0000, 0, 32, DOCUMENTATION),
    v6(0x2002_0000_0000_0000, 0, 16, "a 6to4 tunnel (RFC 3056)"),
    v6(0x3fff_0000_0000_0000, 0, 20, DOCUMENTATION),
    v6(0x5f00_0000_0000_0000, 0, 16, "a router's (RFC 9602)"),
    // Amazon's, and Google's.
    v6(0xfd00_0ec2_0000_0000, 0x254, 128, METADATA),
    v6(0xfd20_00ce_0000_0000, 0x254, 128, METADATA),
    v6(0xfc00_0000_0000_0000, 0, 7, "a private address (unique local, RFC 4193)"),
    v6(0xfe80_0000_0000_0000, 0, 10, LINK_LOCAL),
    v6(0xfec0_0000_0000_0000, 0, 10, "a private address (site-local, RFC 3879)"),
    v6(0xff00_0000_0000_0000, 0, 8, MULTICAST),
    v6(0, 0, 3, NOT_GLOBAL),
    v6(0x4000_0000_0000_0000, 0, 2, NOT_GLOBAL),
    v6(0x8000_0000_0000_0000, 0, 1, NOT_GLOBAL),
];

/// Behind which IPv4 is to be had with nothing but IPv6 (RFC 6052 §2.1).
const NAT64: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// Who answers at an address: the IPv4 address, if it is one in the form of IPv6 (RFC 4291 §2.5.5.2)
/// or reached through NAT64.
fn answering(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) if NAT64.contains(&v6) => {
            let [.., a, b, c, d] = v6.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => address.to_canonical(),
    }
}

/// What is at an address, if it is no public server.
pub fn reserved(address: IpAddr) -> Option<&'static str> {
    let answering = answering(address);
    BLOCKS.iter().find(|block| block.net.contains(&answering)).map(|block| block.what)
}

/// What is reached beside public servers with TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    /// `http.allow_networks`: reached although they are no public servers'.
    pub allowed: Vec<IpNet>,
    /// `http.plain_networks`: reached by `http://`, without TLS. This machine's own addresses always
    /// are, if they are reached at all.
    pub plain: Vec<IpNet>,
}

/// Why an address is not gone to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Barred {
    /// It is no public server's.
    #[error(
        "{host} is not asked: its address {address} is {what}; if it is meant, add it to \
         http.allow_networks (HTTP_ALLOW_NETWORKS)"
    )]
    Reserved {
        /// As it was given.
        host: String,
        /// What it stands for.
        address: IpAddr,
        /// What is there.
        what: &'static str,
    },
    /// What is sent would be to be read on the way.
    #[error(
        "{host} is not asked by http://, as everything would travel unencrypted: use https://, or \
         add its network to http.plain_networks (HTTP_PLAIN_NETWORKS)"
    )]
    Plain {
        /// As it was given.
        host: String,
    },
    /// A proxy would look the name up, and send everything on unencrypted.
    #[error(
        "{host} is not asked by http://, as the proxy of HTTP_PROXY would send everything unencrypted \
         to wherever that leads: use https://, or its address"
    )]
    PlainByProxy {
        /// As it was given.
        host: String,
    },
    /// The proxy would be asked for itself.
    #[error("{host} is not asked: it is the proxy that the environment names")]
    Proxy {
        /// As it was given.
        host: String,
    },
}

impl Networks {
    /// This machine's own addresses: where the emulators are.
    pub fn loopback() -> Vec<IpNet> {
        let loopback = |block: &&Block| block.what == LOOPBACK;
        BLOCKS.iter().filter(loopback).map(|block| block.net).collect()
    }

    /// Whether `address`, for which `host` stands, may be gone to.
    pub fn admit(&self, host: &str, address: IpAddr, is_plain: bool) -> Result<(), Barred> {
        let reserved = reserved(address);
        if let Some(what) = reserved
            && !holds(&self.allowed, address)
        {
            return Err(Barred::Reserved { host: host.to_owned(), address, what });
        }
        if is_plain && reserved != Some(LOOPBACK) && !holds(&self.plain, address) {
            return Err(Barred::Plain { host: host.to_owned() });
        }
        Ok(())
    }
}

/// Whether one of the networks holds an address, or who answers there.
fn holds(networks: &[IpNet], address: IpAddr) -> bool {
    let answering = answering(address);
    networks.iter().any(|net| net.contains(&address) || net.contains(&answering))
}

#[cfg(test)]
#[path = "networks_tests.rs"]
mod tests;
