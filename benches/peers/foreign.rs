//! Sockets of libzmq and NNG, from shared libraries that are named at run time: the bench compiles neither.
//!
//! The wheels of pyzmq (with CURVE) and pynng (with mbedTLS) hold such libraries.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr::{null, null_mut};

use libloading::Library;

const ZMQ_PULL: c_int = 7;
const ZMQ_PUSH: c_int = 8;
const ZMQ_LINGER: c_int = 17;
const ZMQ_LAST_ENDPOINT: c_int = 32;
const ZMQ_CURVE_SERVER: c_int = 47;
const ZMQ_CURVE_PUBLICKEY: c_int = 48;
const ZMQ_CURVE_SECRETKEY: c_int = 49;
const ZMQ_CURVE_SERVERKEY: c_int = 50;
/// Bytes of a key as text, with the zero at its end.
const CURVE_KEY: usize = 41;

const NNG_TLS_CLIENT: c_int = 0;
const NNG_TLS_SERVER: c_int = 1;
const NNG_TLS_REQUIRED: c_int = 2;

/// Calls a function of a C library.
macro_rules! call {
    ($library:expr, $name:literal ($($type:ty: $value:expr),*) -> $result:ty) => {{
        // Sound as far as the signature is that of the library's header.
        #[allow(unsafe_code)]
        unsafe {
            let function = $library
                .get::<unsafe extern "C" fn($($type),*) -> $result>($name)
                .unwrap();
            function($($value),*)
        }
    }};
}

/// Opens a library for the rest of the process: its threads run to the end.
fn open(path: &str) -> &'static Library {
    // Its initialisers do nothing but that.
    #[allow(unsafe_code)]
    let library = unsafe { Library::new(path) };
    Box::leak(Box::new(
        library.unwrap_or_else(|error| panic!("{path}: {error}")),
    ))
}

/// A PUSH and a PULL socket.
pub(crate) struct Zmq {
    library: &'static Library,
    push: *mut c_void,
    pull: *mut c_void,
}

/// `zmq_msg_t`.
#[repr(C, align(8))]
struct ZmqMessage([u8; 64]);

/// The two keys of a CURVE peer, as text.
pub(crate) struct CurveKeys {
    public: CString,
    secret: CString,
}

impl Zmq {
    fn sockets(path: &str) -> Self {
        let library = open(path);
        let context = call!(library, b"zmq_ctx_new" () -> *mut c_void);
        let socket =
            |kind| call!(library, b"zmq_socket" (*mut c_void: context, c_int: kind) -> *mut c_void);
        let (push, pull) = (socket(ZMQ_PUSH), socket(ZMQ_PULL));
        let zmq = Self {
            library,
            push,
            pull,
        };
        for socket in [push, pull] {
            zmq.set(socket, ZMQ_LINGER, &0i32.to_ne_bytes());
        }
        zmq
    }

    fn set(&self, socket: *mut c_void, option: c_int, value: &[u8]) {
        let set = call!(self.library, b"zmq_setsockopt" (
            *mut c_void: socket, c_int: option, *const u8: value.as_ptr(), usize: value.len()
        ) -> c_int);
        assert_eq!(set, 0, "option {option}");
    }

    fn keys(&self) -> CurveKeys {
        let [mut public, mut secret] = [[0u8; CURVE_KEY]; 2];
        let made = call!(self.library, b"zmq_curve_keypair" (
            *mut u8: public.as_mut_ptr(), *mut u8: secret.as_mut_ptr()
        ) -> c_int);
        assert_eq!(made, 0, "this libzmq has no CURVE");
        let text = |bytes: [u8; CURVE_KEY]| CString::from_vec_with_nul(bytes.to_vec()).unwrap();
        CurveKeys {
            public: text(public),
            secret: text(secret),
        }
    }

    fn secure(&self, own: &CurveKeys, server: Option<&str>) {
        for socket in [self.push, self.pull] {
            match server {
                None => self.set(socket, ZMQ_CURVE_SERVER, &1i32.to_ne_bytes()),
                Some(key) => {
                    self.set(socket, ZMQ_CURVE_SERVERKEY, key.as_bytes());
                    self.set(socket, ZMQ_CURVE_PUBLICKEY, own.public.as_bytes());
                }
            }
            self.set(socket, ZMQ_CURVE_SECRETKEY, own.secret.as_bytes());
        }
    }

    /// The end that binds, and what the other end needs: two addresses, and the key of the server with `curve`.
    pub(crate) fn bind(path: &str, curve: bool) -> (Self, Vec<String>) {
        let zmq = Self::sockets(path);
        let keys = curve.then(|| zmq.keys());
        if let Some(keys) = &keys {
            zmq.secure(keys, None);
        }
        let mut addresses: Vec<String> = [zmq.push, zmq.pull]
            .map(|socket| {
                let any = c"tcp://127.0.0.1:*";
                let bound = call!(zmq.library, b"zmq_bind" (
                    *mut c_void: socket, *const c_char: any.as_ptr()
                ) -> c_int);
                assert_eq!(bound, 0);
                let (mut text, mut length) = ([0u8; 256], 256usize);
                call!(zmq.library, b"zmq_getsockopt" (
                    *mut c_void: socket, c_int: ZMQ_LAST_ENDPOINT, *mut u8: text.as_mut_ptr(), *mut usize: &mut length
                ) -> c_int);
                String::from_utf8(text[..length - 1].to_vec()).unwrap()
            })
            .to_vec();
        addresses.extend(keys.map(|keys| keys.public.into_string().unwrap()));
        (zmq, addresses)
    }

    /// The end that connects to what [`Zmq::bind`] has returned.
    pub(crate) fn connect(path: &str, addresses: &[String]) -> Self {
        let zmq = Self::sockets(path);
        if let Some(server) = addresses.get(2) {
            zmq.secure(&zmq.keys(), Some(server));
        }
        for (socket, address) in [zmq.pull, zmq.push].into_iter().zip(addresses) {
            let address = CString::new(address.as_str()).unwrap();
            let connected = call!(zmq.library, b"zmq_connect" (
                *mut c_void: socket, *const c_char: address.as_ptr()
            ) -> c_int);
            assert_eq!(connected, 0);
        }
        zmq
    }

    pub(crate) fn send(&self, body: &[u8]) {
        let sent = call!(self.library, b"zmq_send" (
            *mut c_void: self.push, *const u8: body.as_ptr(), usize: body.len(), c_int: 0
        ) -> c_int);
        assert_eq!(usize::try_from(sent), Ok(body.len()));
    }

    /// Receives a message, and sends it back without a copy where `look` says so; `None` at the end.
    pub(crate) fn recv<T>(&self, look: impl FnOnce(&[u8]) -> (T, bool)) -> Option<T> {
        let mut message = ZmqMessage([0; 64]);
        let message: *mut ZmqMessage = &mut message;
        call!(self.library, b"zmq_msg_init" (*mut ZmqMessage: message) -> c_int);
        let got = call!(self.library, b"zmq_msg_recv" (
            *mut ZmqMessage: message, *mut c_void: self.pull, c_int: 0
        ) -> c_int);
        if got < 0 {
            return None;
        }
        let data = call!(self.library, b"zmq_msg_data" (*mut ZmqMessage: message) -> *const u8);
        // The message lives until it is sent or closed.
        #[allow(unsafe_code)]
        let body = unsafe { std::slice::from_raw_parts(data, got as usize) };
        let (looked, echo) = look(body);
        match echo {
            true => call!(self.library, b"zmq_msg_send" (
                *mut ZmqMessage: message, *mut c_void: self.push, c_int: 0
            ) -> c_int),
            false => call!(self.library, b"zmq_msg_close" (*mut ZmqMessage: message) -> c_int),
        };
        Some(looked)
    }
}

/// `nng_socket`, `nng_listener` and `nng_dialer` are a number in a structure each.
#[derive(Clone, Copy)]
#[repr(C)]
struct NngId(u32);

/// A pair1 socket over TLS, with certificates of both ends.
pub(crate) struct Nng {
    library: &'static Library,
    socket: NngId,
}

fn done(what: &str, result: c_int) {
    assert_eq!(result, 0, "nng: {what}");
}

impl Nng {
    /// The end at `address`, `127.0.0.1:port`, which listens or dials, with the certificate of `name` in `directory`.
    pub(crate) fn new(
        path: &str,
        address: &str,
        directory: &str,
        [name, peer]: [&str; 2],
        listens: bool,
    ) -> Self {
        let library = open(path);
        let mut socket = NngId(0);
        done(
            "open",
            call!(library, b"nng_pair1_open" (*mut NngId: &mut socket) -> c_int),
        );
        let mode = if listens {
            NNG_TLS_SERVER
        } else {
            NNG_TLS_CLIENT
        };
        let mut config: *mut c_void = null_mut();
        done(
            "config",
            call!(library, b"nng_tls_config_alloc" (
            *mut *mut c_void: &mut config, c_int: mode
        ) -> c_int),
        );
        let read = |file: String| {
            CString::new(std::fs::read(format!("{directory}/{file}")).unwrap()).unwrap()
        };
        let (ca, own, key) = (
            read("ca.pem".to_owned()),
            read(format!("{name}.pem")),
            read(format!("{name}.key")),
        );
        done(
            "authority",
            call!(library, b"nng_tls_config_ca_chain" (
            *mut c_void: config, *const c_char: ca.as_ptr(), *const c_char: null()
        ) -> c_int),
        );
        done(
            "certificate",
            call!(library, b"nng_tls_config_own_cert" (
            *mut c_void: config, *const c_char: own.as_ptr(), *const c_char: key.as_ptr(), *const c_char: null()
        ) -> c_int),
        );
        done(
            "mode",
            call!(library, b"nng_tls_config_auth_mode" (
            *mut c_void: config, c_int: NNG_TLS_REQUIRED
        ) -> c_int),
        );
        let url = CString::new(format!("tls+tcp://{address}")).unwrap();
        let option = c"tls-config";
        let mut end = NngId(0);
        if listens {
            done(
                "listener",
                call!(library, b"nng_listener_create" (
                *mut NngId: &mut end, NngId: socket, *const c_char: url.as_ptr()
            ) -> c_int),
            );
            done(
                "option",
                call!(library, b"nng_listener_set_ptr" (
                NngId: end, *const c_char: option.as_ptr(), *mut c_void: config
            ) -> c_int),
            );
            done(
                "start",
                call!(library, b"nng_listener_start" (NngId: end, c_int: 0) -> c_int),
            );
        } else {
            let peer = CString::new(peer).unwrap();
            done(
                "name",
                call!(library, b"nng_tls_config_server_name" (
                *mut c_void: config, *const c_char: peer.as_ptr()
            ) -> c_int),
            );
            done(
                "dialer",
                call!(library, b"nng_dialer_create" (
                *mut NngId: &mut end, NngId: socket, *const c_char: url.as_ptr()
            ) -> c_int),
            );
            done(
                "option",
                call!(library, b"nng_dialer_set_ptr" (
                NngId: end, *const c_char: option.as_ptr(), *mut c_void: config
            ) -> c_int),
            );
            done(
                "start",
                call!(library, b"nng_dialer_start" (NngId: end, c_int: 0) -> c_int),
            );
        }
        Self { library, socket }
    }

    pub(crate) fn send(&self, body: &[u8]) {
        done(
            "send",
            call!(self.library, b"nng_send" (
            NngId: self.socket, *const u8: body.as_ptr(), usize: body.len(), c_int: 0
        ) -> c_int),
        );
    }

    /// As [`Zmq::recv`].
    pub(crate) fn recv<T>(&self, look: impl FnOnce(&[u8]) -> (T, bool)) -> Option<T> {
        let mut message: *mut c_void = null_mut();
        let got = call!(self.library, b"nng_recvmsg" (
            NngId: self.socket, *mut *mut c_void: &mut message, c_int: 0
        ) -> c_int);
        if got != 0 {
            return None;
        }
        let data = call!(self.library, b"nng_msg_body" (*mut c_void: message) -> *const u8);
        let length = call!(self.library, b"nng_msg_len" (*mut c_void: message) -> usize);
        // The message lives until it is sent or freed.
        #[allow(unsafe_code)]
        let body = unsafe { std::slice::from_raw_parts(data, length) };
        let (looked, echo) = look(body);
        match echo {
            true => done(
                "send",
                call!(self.library, b"nng_sendmsg" (
                NngId: self.socket, *mut c_void: message, c_int: 0
            ) -> c_int),
            ),
            false => call!(self.library, b"nng_msg_free" (*mut c_void: message) -> ()),
        }
        Some(looked)
    }
}
