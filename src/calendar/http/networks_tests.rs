use ipnet::IpNet;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What is said of an address, up to the sources.
fn said(text: &str) -> &'static str {
    reserved(ip(text)).map_or("public", |what| what.split(" (").next().unwrap())
}

const PRIVATE: &str = "a private address";
const LOOPBACK: &str = "this machine's own";
const DOCS: &str = "for documentation only";
const BENCH: &str = "for benchmarks only";
const META: &str = "a cloud's metadata service";
const LINK: &str = "a link-local address";
const NOBODY: &str = "no address of any host";
const MULTICAST: &str = "a multicast address";
const PROTOCOLS: &str = "reserved for protocols";
const OLD: &str = "an IPv4 address in a form that is deprecated";
const OUTSIDE: &str = "outside the global unicast addresses";
const DISCARDED: &str = "where packets are discarded";
const NAT64: &str = "behind somebody's own NAT64";
const CARRIER: &str = "a carrier's own";
const ROUTER: &str = "a router's";
const BROADCAST: &str = "reserved or a broadcast address";
const TEREDO: &str = "a Teredo tunnel";
const SIX_TO_FOUR: &str = "a 6to4 tunnel";

/// What it is; the address before, the first, the last, and the one after; what is said of those around.
#[rustfmt::skip]
const EDGES: [[&str; 7]; 39] = [
    [NOBODY, "", "0.0.0.0", "0.255.255.255", "1.0.0.0", "", "public"],
    [PRIVATE, "9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0", "public", "public"],
    [CARRIER, "100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0", "public", "public"],
    [META, "100.100.100.199", "100.100.100.200", "100.100.100.200", "100.100.100.201", CARRIER, CARRIER],
    [LOOPBACK, "126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0", "public", "public"],
    [META, "168.63.129.15", "168.63.129.16", "168.63.129.16", "168.63.129.17", "public", "public"],
    [LINK, "169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0", "public", "public"],
    [META, "169.254.169.253", "169.254.169.254", "169.254.169.254", "169.254.169.255", LINK, LINK],
    [META, "169.254.170.1", "169.254.170.2", "169.254.170.2", "169.254.170.3", LINK, LINK],
    [PRIVATE, "172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0", "public", "public"],
    [PROTOCOLS, "191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0", "public", "public"],
    [META, "192.0.0.191", "192.0.0.192", "192.0.0.192", "192.0.0.193", PROTOCOLS, PROTOCOLS],
    [DOCS, "192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0", "public", "public"],
    ["a 6to4 relay", "192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0", "public", "public"],
    [PRIVATE, "192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0", "public", "public"],
    [BENCH, "198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0", "public", "public"],
    [DOCS, "198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0", "public", "public"],
    [DOCS, "203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0", "public", "public"],
    [MULTICAST, "223.255.255.255", "224.0.0.0", "239.255.255.255", "240.0.0.0", "public", BROADCAST],
    [BROADCAST, "239.255.255.255", "240.0.0.0", "255.255.255.255", "", MULTICAST, ""],
    [NOBODY, "", "::", "::", "::1", "", LOOPBACK],
    [LOOPBACK, "::", "::1", "::1", "::2", NOBODY, OLD],
    [OLD, "::1", "::2", "::ffff:ffff", "::1:0:0", LOOPBACK, OUTSIDE],
    [NAT64, "64:ff9b:0:ffff:ffff:ffff:ffff:ffff", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "64:ff9b:2::", OUTSIDE, OUTSIDE],
    [DISCARDED, "ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "100::", "100::1:ffff:ffff:ffff:ffff", "100:0:0:2::", OUTSIDE, OUTSIDE],
    [TEREDO, "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001::", "2001::ffff:ffff:ffff:ffff:ffff:ffff", "2001:1::", "public", PROTOCOLS],
    [PROTOCOLS, "2001::ffff:ffff:ffff:ffff:ffff:ffff", "2001:1::", "2001:1:ffff:ffff:ffff:ffff:ffff:ffff", "2001:2::", TEREDO, BENCH],
    [BENCH, "2001:1:ffff:ffff:ffff:ffff:ffff:ffff", "2001:2::", "2001:2::ffff:ffff:ffff:ffff:ffff", "2001:2:1::", PROTOCOLS, PROTOCOLS],
    [PROTOCOLS, "2001:2::ffff:ffff:ffff:ffff:ffff", "2001:2:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::", BENCH, "public"],
    [DOCS, "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::", "public", "public"],
    [SIX_TO_FOUR, "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::", "public", "public"],
    [DOCS, "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::", "public", "public"],
    [OUTSIDE, "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "4000::", "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "5f00::", "public", ROUTER],
    [ROUTER, "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "5f01::", OUTSIDE, OUTSIDE],
    [OUTSIDE, "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "5f01::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fc00::", ROUTER, PRIVATE],
    [PRIVATE, "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe00::", OUTSIDE, OUTSIDE],
    [LINK, "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fec0::", OUTSIDE, PRIVATE],
    [PRIVATE, "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ff00::", LINK, MULTICAST],
    [MULTICAST, "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", PRIVATE, ""],
];

/// Each block's first and last address, and the addresses before and after: by hand, so that no
/// length in the table is right by itself.
#[test]
fn every_block_ends_where_its_document_says() {
    for [what, before, first, last, after, said_before, said_after] in EDGES {
        assert_eq!((said(first), said(last)), (what, what), "{first} to {last}");
        for (neighbour, expected) in [(before, said_before), (after, said_after)] {
            if !neighbour.is_empty() {
                assert_eq!(said(neighbour), expected, "{neighbour}, beside {first} to {last}");
            }
        }
    }
    for metadata in ["fd00:ec2::254", "fd20:ce::254"] {
        assert_eq!(said(metadata), META);
    }
}

#[test]
fn no_block_of_the_table_is_hidden_by_an_earlier_one() {
    for (at, block) in BLOCKS.iter().enumerate() {
        let covers = |earlier: &Block| earlier.net.contains(&block.net);
        assert!(!BLOCKS[..at].iter().any(covers), "{} comes too late", block.net);
        assert_eq!(block.net, block.net.trunc(), "{} begins where it says", block.net);
    }
}

#[test]
fn public_servers_are_public() {
    for address in [
        "8.8.8.8",
        "142.250.74.106",
        "17.248.0.1",
        "192.31.196.1",
        "2a00:1450:4001:800::200a",
        "2620:4f:8000::1",
        "2001:4860:4860::8888",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ] {
        assert_eq!(reserved(ip(address)), None, "{address}");
    }
}

/// However it is written, it is that machine that answers.
#[test]
fn an_ipv4_address_inside_another_is_judged_by_itself() {
    for (form, what) in [
        ("::ffff:127.0.0.1", "this machine's own"),
        ("::ffff:10.0.0.1", "a private address"),
        ("::ffff:169.254.169.254", "a cloud's metadata service"),
        ("64:ff9b::10.0.0.1", "a private address"),
        ("64:ff9b::169.254.169.254", "a cloud's metadata service"),
        ("64:ff9b::", "no address of any host"),
        ("64:ff9b::255.255.255.255", "reserved or a broadcast address"),
        ("64:ff9b::1:0:0", "outside the global unicast addresses"),
        ("::127.0.0.1", "an IPv4 address in a form that is deprecated"),
        ("::8.8.8.8", "an IPv4 address in a form that is deprecated"),
        ("2002:7f00:1::1", "a 6to4 tunnel"),
        ("2002:808:808::1", "a 6to4 tunnel"),
        ("2001:0:808:808::f7f7:f7f7", "a Teredo tunnel"),
    ] {
        assert_eq!(said(form), what, "{form}");
    }
}

fn networks(allowed: &[&str], plain: &[&str]) -> Networks {
    let read = |texts: &[&str]| texts.iter().map(|net| net.parse::<IpNet>().unwrap()).collect();
    Networks { allowed: read(allowed), plain: read(plain) }
}

#[test]
fn what_is_allowed_is_that_and_no_more() {
    let none = Networks::default();
    let some = networks(&["10.1.0.0/16", "fd12::/32"], &[]);
    for (address, by_default, allowed) in [
        ("8.8.8.8", true, true),
        ("10.1.0.0", false, true),
        ("10.1.255.255", false, true),
        ("10.2.0.0", false, false),
        ("::ffff:10.1.2.3", false, true),
        ("64:ff9b::10.1.2.3", false, true),
        ("64:ff9b::10.2.2.3", false, false),
        ("fd12::1", false, true),
        ("fd13::1", false, false),
        ("127.0.0.1", false, false),
    ] {
        let admits = |networks: &Networks| networks.admit("h", ip(address), false).is_ok();
        assert_eq!((admits(&none), admits(&some)), (by_default, allowed), "{address}");
    }
    let forms = networks(&["64:ff9b::10.0.0.0/104"], &[]);
    assert!(forms.admit("h", ip("64:ff9b::10.1.2.3"), false).is_ok());
    assert!(forms.admit("h", ip("10.1.2.3"), false).is_err(), "only behind NAT64");
}

#[test]
fn nothing_goes_unencrypted_but_to_this_machine_and_where_that_is_allowed() {
    let networks =
        networks(&["127.0.0.0/8", "::1/128", "10.0.0.0/8"], &["10.9.0.0/16", "8.8.8.8/32"]);
    let plainly = |address| networks.admit("h", ip(address), true);
    for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.9.0.1", "8.8.8.8"] {
        assert_eq!(plainly(address), Ok(()), "{address}");
    }
    for address in ["10.8.0.1", "8.8.4.4"] {
        assert_eq!(plainly(address), Err(Barred::Plain { host: "h".to_owned() }), "{address}");
        assert_eq!(networks.admit("h", ip(address), false), Ok(()), "{address}");
    }
    let elsewhere = Networks { plain: vec![], ..networks.clone() };
    assert!(elsewhere.admit("h", ip("127.0.0.1"), true).is_ok());
    let not_reached = Networks { allowed: vec![], ..networks };
    let barred = not_reached.admit("h", ip("10.9.0.1"), true);
    assert!(matches!(barred, Err(Barred::Reserved { .. })), "one setting is not both: {barred:?}");
}

#[test]
fn a_refusal_names_the_address_what_it_is_and_the_setting() {
    let barred = Networks::default().admit("dav.example.com", ip("10.1.2.3"), false).unwrap_err();
    assert_eq!(
        barred.to_string(),
        "dav.example.com is not asked: its address 10.1.2.3 is a private address (RFC 1918); if it \
         is meant, add it to http.allow_networks (HTTP_ALLOW_NETWORKS)"
    );
    let barred = Networks::default().admit("8.8.8.8", ip("8.8.8.8"), true).unwrap_err();
    assert!(barred.to_string().contains("http.plain_networks (HTTP_PLAIN_NETWORKS)"), "{barred}");
}
