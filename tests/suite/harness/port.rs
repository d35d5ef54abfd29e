//! A port that a program may listen on which cannot be told to take any free one.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// A loopback port that stays ours while this value lives.
///
/// It is bound but does not listen: a program that sets `SO_REUSEADDR` can listen on it, nobody else is given it by the
/// system, and while nobody listens a client is refused. So a broker can die and come back on its port without a race.
#[derive(Debug)]
pub struct Port {
    socket: TcpSocket,
}

impl Port {
    /// Takes a free port.
    pub fn reserve() -> Self {
        let socket = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        Self { socket }
    }

    /// Where it is.
    pub fn addr(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.addr().port()
    }

    /// Listens on it from inside the test.
    pub fn listen(&self) -> TcpListener {
        bind(self.addr()).listen(1024).unwrap()
    }
}

fn bind(addr: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(addr).unwrap();
    socket
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_reserved_port_refuses_until_somebody_listens() {
        let port = Port::reserve();
        let refused = TcpStream::connect(port.addr()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

        let listener = port.listen();
        TcpStream::connect(port.addr()).await.unwrap();
        drop(listener);
        let refused = TcpStream::connect(port.addr()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        port.listen();
    }
}
