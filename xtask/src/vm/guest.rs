//! What runs in the virtual machine.

/// Runs the tests once the system is up, and ends the machine with them.
pub const UNIT: &str = "\
[Unit]
After=basic.target dbus.service
Wants=dbus.service
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=exec
ExecStart=/bin/sh /sigready/guest.sh
Environment=HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
";

/// The second serial line is the way back. `FINISHED` comes last on it.
pub const SCRIPT: &str = r#"
stty -F /dev/ttyS1 raw -echo
exec </dev/null >/dev/ttyS1 2>&1
mount -t tmpfs tmpfs /tmp
insmod "/sigready/overlay/$(uname -r).ko"
for word in $(cat /proc/cmdline); do
    case $word in
        sigready.backends=*) backends="${word#*=}" ;;
        sigready.filter=*) filter="${word#*=}" ;;
    esac
done
# The container root is this machine's own, under a name that nspawn accepts.
mkdir /sigready/root
mount --bind / /sigready/root
mkdir -p /sigready/programs
export SIGREADY_ROOT=/sigready/root SIGREADY_PROGRAMS=/sigready/programs CARGO_BIN_EXE_sigready=/sigready/sigready
cd /tmp
for backend in $(echo "$backends" | tr , " "); do
    echo "BACKEND $backend"
    export SIGREADY_BACKEND=$backend
    for program in /sigready/tests/*; do
        echo "running $program"
        "$program" --ignored --show-output --test-threads=1 $(cat /sigready/left_out) $(echo "${filter-}" | tr , " ")
    done
done
echo FINISHED
# Let the line drain.
sleep 1
"#;

/// What stands before a backend's name on the line before its tests.
pub const BACKEND: &str = "BACKEND ";

/// The last line of a run that came to its end.
pub const FINISHED: &str = "FINISHED";

/// Words for the kernel's command line: what to boot into, and what to run there, with these
/// backends one after the other.
pub fn settings(backends: &[&str], filter: Option<&str>) -> String {
    let backends = backends.join(",");
    let mut settings = format!("systemd.unit=guest.service sigready.backends={backends}");
    if let Some(filter) = filter {
        settings.push_str(" sigready.filter=");
        settings.push_str(filter);
    }
    settings
}
