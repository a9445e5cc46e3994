//! Network namespaces with a TUN device each, made with iproute2 and removed when the pair is dropped.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tun_rs::{DeviceBuilder, SyncDevice};

/// The addresses of the two sides; they exist only in the namespaces.
const NEAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Start of the names of all namespaces here; the process that made one follows.
const NAME: &str = "heqis-test-";
/// Where iproute2 keeps the names.
const NAMES: &str = "/run/netns";

/// Two namespaces, near and far.
pub struct Pair {
    names: Vec<String>,
    pub tuns: [SyncDevice; 2],
}

impl Pair {
    pub fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let (process, number) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        // Each name is on the list before it is made, so that nothing is left after a failure.
        let mut made = Names(Vec::new());
        let tuns = [(NEAR, FAR, 'n'), (FAR, NEAR, 'f')].map(|(here, there, side)| {
            let name = format!("{NAME}{process}-{number}{side}");
            made.0.push(name.clone());
            must(&["netns", "add", &name]);
            let device = format!("hq{process}{side}");
            let tun = open(&name, &device);
            must(&["-n", &name, "link", "set", "lo", "up"]);
            let (here, there) = (here.to_string(), there.to_string());
            must(&[
                "-n", &name, "addr", "add", &here, "peer", &there, "dev", &device,
            ]);
            must(&["-n", &name, "link", "set", &device, "up"]);
            tun
        });
        Self {
            names: std::mem::take(&mut made.0),
            tuns,
        }
    }

    /// `program`, to be run on the near side or on the far one.
    pub fn command(&self, far: bool, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[usize::from(far)]]);
        command.arg(program);
        command
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        drop(Names(std::mem::take(&mut self.names)));
    }
}

/// Namespaces that are removed when this is dropped.
struct Names(Vec<String>);

impl Drop for Names {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = ip(&["netns", "del", name]);
        }
    }
}

/// A new TUN device in the namespace `name`. A thread of its own goes there: the device stays, the thread ends.
fn open(name: &str, device: &str) -> SyncDevice {
    let space = File::open(Path::new(NAMES).join(name)).unwrap();
    let device = device.to_owned();
    let opened = std::thread::spawn(move || {
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let tun = DeviceBuilder::new().name(device).build_sync().unwrap();
        tun.set_nonblocking(true).unwrap();
        tun
    });
    opened.join().unwrap()
}

/// What this machine lacks for a [`Pair`], if anything. Removes what a killed run of this program has left behind.
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces need root".into());
    }
    if !Path::new("/dev/net/tun").exists() {
        return Some("/dev/net/tun does not exist".into());
    }
    for entry in std::fs::read_dir(NAMES).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name
            .strip_prefix(NAME)
            .and_then(|rest| rest.split_once('-'))
            .map(|(process, _)| process.to_owned());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = ip(&["netns", "del", &name]);
        }
    }
    let probe = Names(vec![format!("{NAME}{}-probe", std::process::id())]);
    ip(&["netns", "add", &probe.0[0]]).err()
}

fn must(args: &[&str]) {
    if let Err(error) = ip(args) {
        panic!("ip {}: {error}", args.join(" "));
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip")
        .args(args)
        .output()
        .map_err(|error| format!("`ip` of the package iproute2 does not start: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
