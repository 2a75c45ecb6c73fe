# The account's authorized_keys: looked at, or made anew of parts of itself. Any POSIX sh; read by attempt_source.BOOT.
# _kq is set before: the first word of the answer, which is one line; what is looked at comes behind it.
unset TZ
_kt=
_kno() { echo "$_kq no $*"; exit 0; }
_kwhere() {
[ -n "${HOME-}" ] && [ -d "$HOME" ] || _kno 'this account has no home folder'
_kd=$HOME/.ssh
_kf=$_kd/authorized_keys
_kn=0
while [ -h "$_kf" ]; do
    _kn=$((_kn + 1))
    [ "$_kn" -le 8 ] || _kno '~/.ssh/authorized_keys is a ring of links'
    _kl=$(readlink "$_kf") || _kno '~/.ssh/authorized_keys is a link that leads nowhere we can see'
    case $_kl in /*) _kf=$_kl ;; *) _kf=${_kf%/*}/$_kl ;; esac
done
if [ -e "$_kf" ]; then
    [ -f "$_kf" ] || _kno '~/.ssh/authorized_keys is no file'
    [ -r "$_kf" ] || _kno '~/.ssh/authorized_keys is not to be read'
fi
command -v cksum >/dev/null 2>&1 || _kno 'there is no cksum'
}
_ksum() { if [ -e "$1" ]; then cksum <"$1"; else echo absent; fi; }
_klook() {
_kwhere
echo "$_kq look $(date +%Y%m%d%H%M) $(_ksum "$_kf")"
if [ -e "$_kf" ]; then cat "$_kf"; fi
}
# Whoever made the lock is at it for a moment only: one that stands for ten seconds is a dead one's. Counted in fifths of
# one. Who finds the file changed meanwhile has to look at it anew, and need not wait.
_klock() {
_kn=0
_kold=0
_kmiss=0
_kwas=
until mkdir "$_kf.hostler" 2>/dev/null; do
    [ "$(_ksum "$_kf")" = "$1" ] && [ "$_kn" -le 75 ] || { echo "$_kq changed"; exit 0; }
    if [ ! -d "$_kf.hostler" ]; then
        _kmiss=$((_kmiss + 1))
        [ "$_kmiss" -le 20 ] || _kno "nothing can be written to ${_kf%/*}"
        continue
    fi
    _kis=$(ls -ldi "$_kf.hostler" 2>/dev/null)
    [ "$_kis" = "$_kwas" ] || _kold=$_kn
    _kwas=$_kis
    if [ $((_kn - _kold)) -gt 50 ]; then rmdir "$_kf.hostler" 2>/dev/null; fi
    if sleep 0.2 2>/dev/null; then _kn=$((_kn + 1)); else sleep 1; _kn=$((_kn + 5)); fi
done
trap 'rm -f "$_kt" 2>/dev/null; rmdir "$_kf.hostler" 2>/dev/null' EXIT
trap 'exit 1' HUP INT TERM PIPE
}
_kkeep() { tail -c "+$(($1 + 1))" "$_kf" | head -c "$2"; }
# What the file must be now and what it is to be, by cksum; the parts are made by the function _kparts.
_kwrite() {
_kwhere
[ -d "$_kd" ] || mkdir "$_kd" 2>/dev/null || _kno '~/.ssh can not be made'
if [ -e "$_kf" ]; then
    [ -n "$(find "$_kf" -prune -user "$(id -u)" 2>/dev/null)" ] || _kno "~/.ssh/authorized_keys is somebody else's"
    [ -w "$_kf" ] || _kno '~/.ssh/authorized_keys is not to be written'
fi
_klock "$1"
if [ "$(_ksum "$_kf")" != "$1" ]; then echo "$_kq changed"; exit 0; fi
_kt=$_kf.$_kq
if [ -e "$_kf" ]; then cp -p "$_kf" "$_kt" 2>/dev/null || _kno "nothing can be written to ${_kf%/*}"; fi
{ _kparts >"$_kt"; } 2>/dev/null
[ "$(_ksum "$_kt")" = "$2" ] || _kno "nothing can be written to ${_kf%/*}: is its disk full?"
dd if=/dev/null of="$_kt" conv=notrunc,fsync 2>/dev/null || sync
mv -f "$_kt" "$_kf" 2>/dev/null || _kno '~/.ssh/authorized_keys can not be replaced'
echo "$_kq done"
}
# What was not there before we came: only what is empty goes.
_kunmake() {
_kwhere
_klock "$(_ksum "$_kf")"
if [ -f "$_kf" ] && [ ! -s "$_kf" ]; then rm -f "$_kf"; fi
echo "$_kq done"
}
