//! The daemon that a command asks: that of a mount, or a server.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use nix::unistd::geteuid;
use serde::Serialize;
use url::Url;

use crate::mountinfo::Mount;

/// Where a daemon is to be seen.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Places {
    /// Where it is mounted.
    pub mountpoint: Option<String>,
    /// Where it is served over HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A daemon as those know it who ask it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// What its socket may be named after: the device number of its mount, or an address that it serves at.
    pub(super) sockets: Vec<String>,
    /// Whose it is.
    pub(super) user: u32,
    /// The mountpoint, or the address of the server.
    pub(super) name: String,
    /// Whether it is a mount.
    pub(super) is_mount: bool,
}

/// What the socket of a server is named after.
pub(super) fn of_server(address: SocketAddr) -> String {
    format!("http-{address}")
}

impl From<&Mount> for Peer {
    fn from(mount: &Mount) -> Self {
        Peer {
            sockets: vec![mount.device.clone()],
            user: mount.user.unwrap_or_else(|| geteuid().as_raw()),
            name: mount.mountpoint.display().to_string(),
            is_mount: true,
        }
    }
}

impl Peer {
    /// The server of this machine and user at an address of the web, which may be one of several that it listens at.
    pub fn server(url: &Url) -> io::Result<Peer> {
        let mut addresses = url.socket_addrs(|| None)?;
        // A server that listens at all addresses of this machine does not listen at those of another one.
        let is_here = addresses.iter().any(|address| UdpSocket::bind((address.ip(), 0)).is_ok());
        for any in
            [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)].into_iter().filter(|_| is_here)
        {
            let ports: Vec<u16> = addresses.iter().map(SocketAddr::port).collect();
            addresses.extend(ports.first().map(|port| SocketAddr::new(any, *port)));
        }
        Ok(Peer {
            sockets: addresses.into_iter().map(of_server).collect(),
            user: geteuid().as_raw(),
            // Without the path, which may hold a token.
            name: url.origin().ascii_serialization(),
            is_mount: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_found_by_each_address_that_it_listens_at() {
        let peer = Peer::server(&Url::parse("http://127.0.0.1:8474/t0ken/x").unwrap()).unwrap();
        assert_eq!(peer.sockets, ["http-127.0.0.1:8474", "http-0.0.0.0:8474", "http-[::]:8474"]);
        assert_eq!((peer.name.as_str(), peer.is_mount), ("http://127.0.0.1:8474", false));
        let tls = Peer::server(&Url::parse("https://[::1]/").unwrap()).unwrap();
        assert_eq!(tls.sockets[0], "http-[::1]:443");
        let elsewhere = Peer::server(&Url::parse("http://192.0.2.7:8474/").unwrap()).unwrap();
        assert_eq!(elsewhere.sockets, ["http-192.0.2.7:8474"]);
    }
}
