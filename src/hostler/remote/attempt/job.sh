# Become the job of the attempt in _hd: the first process of a session of its own. See state.sh.
{ read -r _hq <"/proc/$$/stat"; } 2>/dev/null && set -- ${_hq##*") "} && shift 19
echo "$$ ${1:-0}" >"$_hd/p"
{ read -r _hq HOSTLER_JOB _hn _hs && IFS= read -r _hw; } <"$_hd/cmd"
read -r HOSTLER_RUN HOSTLER_HOST _hq _hq _hq _hq _hq _hu _hq _hsh <"$_hD/conf"
_hat=$_hu _hm=${_hd##*/}
{ read -r _hq <"$_hD/mark"; } 2>/dev/null && case $_hq in -) ;; *) ulimit -S -m "$_hq${_hm#???}" 2>/dev/null ;; esac
. "$_hD/env"
HOSTLER_ATTEMPT=$_hat/$HOSTLER_JOB/$_hn HOSTLER_SLOT=$_hk
export HOSTLER_ATTEMPT HOSTLER_RUN HOSTLER_JOB HOSTLER_HOST HOSTLER_SLOT
read -r _hu <"$_hD/umask"
exec </dev/null >>"$_hd/out" 2>>"$_hd/err"
umask "$_hu"
case $_hcd in '~' | '~/'*) _hcd=$HOME${_hcd#?} ;; esac
if [ -n "$_hcd" ] && ! CDPATH= cd -- "$_hcd" 2>/dev/null; then
	_hq='no such folder on this host'
	[ -d "$_hcd" ] && _hq="can't be entered"
	echo "--workdir $_hcd: $_hq" >"$_hd/why"
	: >"$_hd/unset"
	exit 127
fi
_hl='
'
eval "set -- $_hw"
[ "$_hs" = 1 ] && set -- "$_hsh" -c "$1"
unset _hcd _hat _hD _hd _hk _hSH _hjob _hq _hm _hn _hs _hw _hu _hsh _hl
case $1 in
*/*) ;;
*) if ! command -v -- "$1" >/dev/null; then
	echo "hostler: $1: command not found (PATH is ${PATH-not set})" >&2
	exit 127
fi ;;
esac
case $1 in -*) exec env -- "$@" ;; esac
exec "$@"
