# Takes a tar of what differs into a folder beside its places, and has the script in it put all there.
# Set before: _hb folder, _hn mark, _hl bytes of the tar, _hs name of the folder beside, _hy 1 to sync, _hm 1 for parents.
# z: remove the folder beside, once it is there.
z() { case $_hs in /*) chmod -R u+rwx "$_hs" 2>/dev/null; rm -rf "$_hs" ;; esac; }
_hbad() { z; printf '%s\0' X "$1" ''; exit 0; }
if [ "$_hm" = 1 ]; then mkdir -p "$_hb" 2>/dev/null; fi
cd "$_hb" 2>/dev/null || _hbad "no such folder: $_hb"
command -v tar >/dev/null 2>&1 || _hbad 'neither python3 nor tar on this host'
find . -name '.hostler-*.part' -prune -type d -mtime +0 -exec rm -rf {} + 2>/dev/null
_hs=$PWD/$_hs
_he=$(mkdir -m 700 "$_hs" 2>&1) || { _hs=; _hbad "${_he##*: }"; }
trap 'cd /; z' EXIT
trap 'exit 1' HUP INT TERM PIPE
printf '%s\0' "$_hn" '' ''
_he=$(head -c "$_hl" | { cd "$_hs" && tar -xpof - 2>&1; echo "=$?"; cat >/dev/null; })
case $_he in
    *=0) if [ ! -f "$_hs/do" ]; then _hbad 'not all of it came'; fi ;;
    *'Wrote only'*) _hbad 'No space left on device' ;;
    *) _he=$(printf '%s\n' "$_he" | head -n 1); _hbad "${_he##*: }" ;;
esac
if [ "$_hy" = 1 ]; then sync -f "$_hs" 2>/dev/null || sync; fi
f() { printf '%s\0' F "${1#./}" "${2##*: }"; }
# r: remove a name. d: a folder. a: rights, time. m: files of one folder into their places.
r() {
    if [ -d "$1" ] && [ ! -h "$1" ]; then e=$(rmdir "$1" 2>&1); else e=$(rm -f "$1" 2>&1); fi || f "$1" "$e"
}
d() {
    if [ ! -d "$1" ] || [ -h "$1" ]; then e=$(mkdir "$1" 2>&1) || f "$1" "$e"; fi
    if [ ! -w "$1" ] || [ ! -x "$1" ]; then chmod u+rwx "$1" 2>/dev/null; fi
}
a() { e=$(chmod "$1" "$3" 2>&1 && TZ=UTC0 touch -c -t "$2" "$3" 2>&1) || f "$3" "$e"; }
m() {
    g=$1; shift
    o=$PWD
    cd "$_hs/t/$g" || return 0
    e=$(mv -f "$@" "$o/$g/" 2>&1) && { cd "$o"; return 0; }
    for n; do if [ -e "$n" ] || [ -h "$n" ]; then f "$g/${n#./}" "$e"; fi; done
    cd "$o"
}
. "$_hs/do"
printf '%s\0' "$_hn end" '' ''
