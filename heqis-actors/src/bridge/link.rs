//! The connection of a sending half.

use super::conn::Conn;

pub(super) enum Link {
    /// An attempt to connect, or the pause before it, is under way.
    Dialing,
    /// Connected; the receiver's welcome is awaited.
    Greeting(Conn),
    Up(UpLink),
    /// The receiver said goodbye: acknowledgements are still handled; a goodbye in return is the last message sent, so
    /// that the receiver can close a connection on which nothing is left to read.
    Leaving(UpLink),
}

/// A connection that was welcomed.
pub(super) struct UpLink {
    pub(super) conn: Conn,
    pub(super) since_ns: i64,
    /// An outcome has arrived over it.
    pub(super) proved: bool,
    /// This half has sent its goodbye over it.
    pub(super) goodbye_sent: bool,
}

impl Link {
    pub(super) fn conn(&mut self) -> Option<&mut Conn> {
        match self {
            Self::Dialing => None,
            Self::Greeting(conn) => Some(conn),
            Self::Up(up) | Self::Leaving(up) => Some(&mut up.conn),
        }
    }

    pub(super) fn up(&mut self) -> Option<&mut UpLink> {
        match self {
            Self::Dialing | Self::Greeting(_) => None,
            Self::Up(up) | Self::Leaving(up) => Some(up),
        }
    }

    pub(super) fn into_conn(self) -> Option<Conn> {
        match self {
            Self::Dialing => None,
            Self::Greeting(conn) => Some(conn),
            Self::Up(up) | Self::Leaving(up) => Some(up.conn),
        }
    }
}
