# -- the first command of a line -------------------------------------------------------------------------------

# A folder that is ours alone, or the reason why it can't be.
_hprivate() {
	mkdir "$1" 2>/dev/null
	set -- "$1" $(ls -ldn "$1" 2>/dev/null)
	case $2 in
	drwx------*) [ "$4" = "$_hme" ] || _hleave ! "not safe for our work: $1 belongs to uid $4; set this host's spool" ;;
	d*) _hleave ! "not safe for our work: others may enter $1; chmod 700 it, or set this host's spool" ;;
	*) _hleave ! "$1 can't be made, or is no folder; set this host's spool" ;;
	esac
}

# Whether a folder lies on a network file system, as far as the kernel tells.
_hnetwork() {
	_hbest= _hkind=
	{ while read -r _hq _hm _hs _ho; do
		case $1/ in "${_hm%/}"/*) [ "${#_hm}" -ge "${#_hbest}" ] && _hbest=$_hm _hkind=$_hs ;; esac
	done </proc/mounts; } 2>/dev/null
	case $_hkind in
	nfs | nfs4 | cifs | smb3 | smbfs | 9p | afs | ceph | glusterfs | lustre | fuse.sshfs | gpfs) return 0 ;;
	esac
	return 1
}

_husable() { mkdir -p "$1" 2>/dev/null && [ -w "$1" ] && [ -x "$1" ] && ! _hnetwork "$(cd -P "$1" && pwd)"; }

# Find or make the spool: UID/TOKEN beneath the folder asked for, or beneath the account's own, or in /var/tmp.
_hplace() {
	_hme=$(id -u)
	_htmp=/var/tmp/hostler-$_hme
	case $1 in
	'') ;;
	'~/'*) _htop=$HOME/${1#??} ;;
	/*) _htop=$1 ;;
	*) _htop=$HOME/$1 ;;
	esac
	if [ -z "$1" ]; then
		_htop=
		case ${XDG_STATE_HOME-} in /*) _htop=$XDG_STATE_HOME ;; esac
		[ -z "$_htop" ] && [ -d "${HOME-}" ] && [ "${HOME%/}" ] && _htop=$HOME/.local/state
		[ ! -d "$_htmp/hostler/$2/$3" ] && [ -n "$_htop" ] &&
			{ [ -d "$_htop/hostler/$2/$3" ] || _husable "$_htop"; } || { _htop=$_htmp && _hprivate "$_htmp"; }
	else
		mkdir -p "$_htop" 2>/dev/null
	fi
	_hD=$_htop/hostler
	_hprivate "$_hD"
	_hprivate "$_hD/$2"
	_hprivate "$_hD/$2/$3"
	_hD=$(cd -P "$_hD/$2/$3" && pwd)
}

# How an exit code is told from a signal here.
_hexactness() {
	_hexact=sh
	_hq=$(awk 'BEGIN { r = system("kill -9 $$"); printf "%d", r }' </dev/null 2>/dev/null)
	[ "$_hq" = 265 ] && _hexact=awk && return
	case $(env time "$_hSH" -c 'kill -9 $$' 2>&1) in *"erminated by signal 9"*) _hexact=time ;; esac
}

# What this host tells of itself: its clock, KiB free on the disk of the spool, its load over a minute, its cores.
_hvitals() {
	_hload=-
	{ read -r _hload _hq </proc/loadavg; } 2>/dev/null
	_hq=$(date +%s 2>/dev/null) || _hq=-
	set -- $(df -Pk "$_hD" 2>/dev/null | tail -n 1)
	echo "V ${_hq:--} ${4:--} $_hload $(nproc 2>/dev/null || echo -)"
}

# open ASKED UID TOKEN ID EPOCH LINE RUN HOST SLOTS GRACE LEASE SHELL MAX: the spool is made or found, and this line counts.
# Times are in centiseconds. The text of this file is in _hi, that of job.sh in _hj, and in _hjenv what
# gives jobs their environment and folder. MAX is the length of a stream that ends its job, in blocks of 512 bytes.
_hopen() {
	for _hq in cat cut df find grep head id ln ls mkdir mv rm sed sleep tail tr wc; do
		command -v "$_hq" >/dev/null 2>&1 || _hleave ! "no python3 there, and sh can't do without $_hq, which is missing"
	done
	_hplace "$1" "$2" "$3"
	_huid=$2 _hepoch=$5 _htoken=$6
	_hle=0
	{ read -r _hle _hlt <"$_hD/line"; } 2>/dev/null
	[ "$_hle" -gt "$5" ] && _hleave ! "a newer controller has taken this run over"
	for _hq in ${_hgiven:+"$_hD"/[ag]/[0-9]*}; do
		_hq=${_hq##*/}
		case $_hq in *[!0-9]*) continue ;; esac
		[ "$_hq" -le "$_hgiven" ] || _hleave ! "it holds jobs of this run of which our store knows nothing: the store is an older copy"
	done
	_hslots=$9
	_hrun=$7 _hhost=$8 _hid=$4
	shift 9
	[ "$_hslots" -gt 0 ] || _hslots=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
	_hz=1 _hus=1
	sleep 0.01 2>/dev/null && _hz=0.1 _hus=0.05
	_hshell=${3:-${SHELL:-/bin/sh}}
	case ${_hshell##*/} in csh | tcsh | fish | nologin | false | nu | elvish | xonsh | pwsh) _hshell=/bin/sh ;; esac
	[ -x "$_hshell" ] || _hshell=/bin/sh
	for _hq in a c B g s n t; do [ -d "$_hD/$_hq" ] || mkdir "$_hD/$_hq" || _hleave - "its disk is full"; done
	_hexactness
	{
		_hemit "$_hi" >"$_hD/t/i.$$" && mv "$_hD/t/i.$$" "$_hD/attempt.sh"
		_hemit "$_hj" >"$_hD/t/i.$$" && mv "$_hD/t/i.$$" "$_hD/job.sh"
		echo "$_hrun $_hhost $_hslots $1 $_hexact $_hz $_hus $_huid $4 $_hshell" >"$_hD/t/i.$$" && mv "$_hD/t/i.$$" "$_hD/conf"
		_hemit "$_hjenv" >"$_hD/t/i.$$" && mv "$_hD/t/i.$$" "$_hD/env"
		echo "$_humask" 1<>"$_hD/umask"
		echo "$_hepoch $_htoken" >"$_hD/t/i.$$" && mv "$_hD/t/i.$$" "$_hD/line"
	} 2>/dev/null || _hleave - "its disk is full, or its spool $_hD can't be written"
	_hsetup
	_hself c
	[ -s "$_hD/id" ] || { echo "$_hid" >"$_hname.id" && ln "$_hname.id" "$_hD/id" 2>/dev/null; rm -f "$_hname.id"; }
	_hID=
	read -r _hID <"$_hD/id" || _hleave ! "its spool $_hD takes no hard links: set this host's spool"
	if [ ! -e "$_hD/mark" ]; then
		_hq=$(echo "${_hID#sh}" | tr 0-9a-f 2345678234567823 | cut -c 1-9)
		_hlimit "${_hq}0000000"
		[ -n "$_hlim" ] || _hq=-
		{ echo "$_hq" >"$_hname.mark" && mv "$_hname.mark" "$_hD/mark"; } 2>/dev/null
	fi
	_hnow
	_hbusy=
	for _hq in "$_hD"/s/*; do [ -e "$_hq" ] && _hbusy=1; done
	_hdl=$((_ht + $2))
	{ read -r _hdl _hlen <"$_hD/lease"; } 2>/dev/null
	# What runs is not given more time by a first word whose answer may never arrive.
	[ -e "$_hD/x" ] || [ -z "$_hbusy" ] && _hdl=$((_ht + $2))
	[ "$_hdl" -gt $((_ht + $2)) ] && _hdl=$((_ht + $2))
	echo "$_hdl $2" 1<>"$_hD/lease"
	if [ -e "$_hD/x" ]; then
		_hdrop
		rm -f "$_hD/x"
	fi
	_hvitals
	echo "H $_hID $_hboot $(id -u) $_hslots $_hexact $_hD"
	echo "T $_ht"
}

# ask N...: what is known of attempts: 0 nothing, 1 waiting, 2 running, 3 ended, 4 lost.
_hask() {
	for _hn in "$@"; do
		_hd=$_hD/a/$_hn
		if [ -e "$_hD/B/$_hn" ]; then
			_hs=0
		elif [ -d "$_hd" ]; then
			if [ -e "$_hD/c/$_hn" ] && ! _hresult "$_hn" && ! _halive "$_hD/c/$_hn"; then _hbury "$_hn"; fi
			if _hresult "$_hn"; then
				case $_hr in lost,*) _hs=4 ;; *) _hs=3 ;; esac
			elif [ -e "$_hD/c/$_hn" ]; then
				_hs=2
			elif _hread "$_hn"; then
				_hs=1
			else
				_hs=0
			fi
		elif _hgone "$_hn"; then
			_hs=4
		else
			rm -f "$_hD/c/$_hn"
			_hs=0
		fi
		echo "K $_hn $_hs"
	done
}

# Run as a process of its own.
case ${1-} in
work | watch | ladder | bury | forget | sweep)
	umask 077
	_hD=${0%/*} _hSH=${_hSH:-/bin/sh}
	_hsetup
	_hpart=_h$1
	shift
	"$_hpart" "$@"
	;;
esac
