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
for word in $(cat /proc/cmdline); do
    case $word in
        sigready.line=*) line="${word#*=}" ;;
        sigready.fentry=*) export SIGREADY_FENTRY="${word#*=}" ;;
        sigready.backends=*) backends="${word#*=}" ;;
        sigready.filter=*) filter="${word#*=}" ;;
        sigready.bench=*) bench="${word#*=}" ;;
    esac
done
stty -F "/dev/$line" raw -echo
exec </dev/null >"/dev/$line" 2>&1
mount -t tmpfs tmpfs /tmp
if [ -n "${bench-}" ]; then
    /sigready/xtask bench --rounds "$bench" --in-machine /sigready/sigready
    echo FINISHED
    sleep 1
    exit
fi
insmod "/sigready/overlay/$(uname -r).ko"
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

/// The words for a machine that measures, so many rounds.
pub fn measuring(line: &str, rounds: usize) -> String {
    format!("systemd.unit=guest.service sigready.line={line} sigready.bench={rounds}")
}

/// What stands before a backend's name on the line before its tests.
pub const BACKEND: &str = "BACKEND ";

/// The last line of a run that came to its end.
pub const FINISHED: &str = "FINISHED";

/// What a machine is told.
pub struct Settings<'a> {
    /// The serial line that is the way back.
    pub line: &'a str,
    /// Whether its kernel is known to let functions be hooked.
    pub hooks_functions: bool,
    /// The backends that the tests are run with, one after the other.
    pub backends: &'a [&'a str],
    /// Parts of names of tests, separated by commas.
    pub filter: Option<&'a str>,
}

impl Settings<'_> {
    /// As words for the kernel's command line, with what to boot into.
    pub fn words(&self) -> String {
        let fentry = if self.hooks_functions { "yes" } else { "no" };
        let mut words = format!(
            "systemd.unit=guest.service sigready.line={} sigready.fentry={fentry} \
             sigready.backends={}",
            self.line,
            self.backends.join(",")
        );
        if let Some(filter) = self.filter {
            words.push_str(" sigready.filter=");
            words.push_str(filter);
        }
        words
    }
}
