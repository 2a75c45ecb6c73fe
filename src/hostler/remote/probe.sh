# What `hostler doctor` asks of a host: looks only, writes nothing, leaves nothing running. Any POSIX sh.
# _hn, _hspool and _hpython are set before: our mark, the folder and the interpreter that the inventory names.
_hsay() { printf '%s=%s\n' "$1" "$2"; }
_hsoon() {
if command -v timeout >/dev/null 2>&1; then timeout 5 "$@"; else "$@"; fi </dev/null 2>/dev/null
}
_hplace() {
_hd=$2
while [ ! -d "$_hd" ] && [ "$_hd" != / ]; do _hd=${_hd%/*}; [ -n "$_hd" ] || _hd=/; done
_hsay "$1" "$2"
_hsay "$1.at" "$_hd"
[ -w "$_hd" ] && [ -x "$_hd" ] && _hsay "$1.writable" yes
if [ -n "$3" ] && { [ -e "$3" ] || [ -L "$3" ]; }; then
_hsay "$1.folder" "$3"
_hsay "$1.ours" "$(_hsoon ls -ldn "$3")"
fi
_hsay "$1.free" "$(_hsoon df -Pk "$_hd" | tail -n 1)"
_hsay "$1.files" "$(_hsoon df -Pi "$_hd" | tail -n 1)"
_hm=$(_hsoon df -Pk "$_hd" | tail -n 1)
_hm=${_hm##*% }
while read -r _hdev _hpoint _hkind _hoptions _; do
if [ "$_hpoint" = "$_hm" ]; then _hsay "$1.mount" "$_hkind $_hoptions"; fi
done 2>/dev/null </proc/self/mounts
}
printf '\n%s begin\n' "$_hn"
_hsay now "$(date +%s 2>/dev/null)"
_hsay at account
_huser=$(_hsoon id -un)
_hsay user "$_huser"
_huid=$(_hsoon id -u)
_hsay uid "$_huid"
_hline=$(_hsoon getent passwd "$_huser" || grep "^$_huser:" /etc/passwd 2>/dev/null)
_hshell=${_hline##*:}
_hsay shell "${_hshell:-${SHELL-}}"
_hsay home "${HOME-}"
_hsay at 'its home'
[ -d "${HOME-}" ] && _hsay home.there yes
_hsay at 'load and cores'
_hsay cpus "$(_hsoon nproc || _hsoon getconf _NPROCESSORS_ONLN)"
_hsay load "$(_hsoon cat /proc/loadavg)"
_hsay at tools
for _hp in rsync tmux sudo setsid sha256sum; do command -v "$_hp" >/dev/null 2>&1 && _hsay tool "$_hp"; done
_hsay at Python
for _hp in $_hpython; do
if command -v "$_hp" >/dev/null 2>&1; then
_hsay python "$_hp $(_hsoon "$_hp" -ISc 'import sys
print("%d.%d.%d %s" % (sys.version_info[:3] + (sys.executable,)))
sys.stdout.flush()
import zlib, hashlib, fcntl, select, socket, struct, json
print("whole")' | tr '\n' ' ')"
fi
done
_hsay at logind
_hsay session "${XDG_SESSION_ID-}"
while read -r _hc; do _hsay cgroup "$_hc"; done 2>/dev/null </proc/self/cgroup
[ -e "/var/lib/systemd/linger/$_huser" ] && _hsay linger yes
for _hf in /usr/lib/systemd/logind.conf /lib/systemd/logind.conf /etc/systemd/logind.conf \
/usr/lib/systemd/logind.conf.d/*.conf /run/systemd/logind.conf.d/*.conf /etc/systemd/logind.conf.d/*.conf; do
if [ -r "$_hf" ]; then
while read -r _hc; do case "$_hc" in Kill*) _hsay logind "$_hf:$_hc";; esac; done <"$_hf"
fi
done
_hsay at 'the temporary folder'
_hplace tmp "${TMPDIR:-/tmp}" ''
_hsay at 'the folder for our work'
if [ -n "$_hspool" ]; then
case "$_hspool" in
"~") _hspool=${HOME-};;
"~/"*) _hspool=${HOME-}/${_hspool#??};;
/*) ;;
*) _hspool=${HOME-}/$_hspool;;
esac
_hplace spool "$_hspool" "$_hspool/hostler"
else
case "${XDG_STATE_HOME-}" in
/*) _hplace spool "$XDG_STATE_HOME" "$XDG_STATE_HOME/hostler";;
*)
case "${HOME-}" in
/?*) [ -d "$HOME" ] && _hplace spool "$HOME/.local/state" "$HOME/.local/state/hostler";;
esac;;
esac
_hplace spool "/var/tmp/hostler-$_huid" "/var/tmp/hostler-$_huid"
fi
printf '%s end\n' "$_hn"
