# -- finding and ending the processes of an attempt --------------------------------------------------------------
#
# Shared by all that end attempts through sh. It needs _hz (how long a nap is), _hid (the attempt's name), _hlim (what
# its mark shows as), _hown (set where the attempt has a session of its own), _hd (its folder) and a function _hwho.

_hnap() { sleep "$_hz"; }

# Centiseconds that only grow, into _ht.
_hnow() {
	if { read -r _ht _hq </proc/uptime; } 2>/dev/null; then
		_hq=${_ht#*.}
		_ht=$((${_ht%.*} * 100 + 1$_hq - 100))
	else
		_ht=$(date +%s)00
	fi
}

# The start time of a living process into _hb; false when there is none.
_hborn() {
	if [ -r /proc/self/stat ]; then
		{ read -r _hq <"/proc/$1/stat"; } 2>/dev/null || return 1
		set -- ${_hq##*") "}
		case $1 in Z | X) return 1 ;; esac
		shift 19
		_hb=$1
	else
		kill -0 "$1" 2>/dev/null && _hb=0
	fi
}

# The living processes of attempt _hid into _hleft: by session and group of its first process, which _hwho finds, by the
# attempt's name in the environment, by files in _hd as stdout or stderr, by its mark, by descent, and those known from
# the last look.
_hhunt() {
	_hleft='' _hpairs='' _hfirst=- _hfb=-
	_hwho
	if [ ! -r /proc/self/stat ]; then
		[ "$_hfirst" != - ] && kill -0 -- "-$_hfirst" 2>/dev/null && _hleft=" $_hfirst "
		return
	fi
	# The number may be another's by now.
	_hborn "$_hfirst" && [ "$_hb" != "$_hfb" ] && _hfirst=-
	_hmarked=" $(grep -lsF "HOSTLER_ATTEMPT=$_hid" /proc/[0-9]*/environ | while read -r _hq; do
		tr '\0' '\n' <"$_hq" 2>/dev/null | grep -qxF "HOSTLER_ATTEMPT=$_hid" && _hq=${_hq#/proc/} && echo "${_hq%/*}"
	done; ls -l /proc/[0-9]*/fd/1 /proc/[0-9]*/fd/2 2>/dev/null | grep -F -e "-> $_hd/" |
		sed 's|.*/proc/\([0-9]*\)/fd/.*|\1|'
	[ -z "$_hlim" ] || grep -ls "^Max resident set  *$_hlim " /proc/[0-9]*/limits | sed 's|/proc/\([0-9]*\)/.*|\1|')  "
	_hmarked=$(echo $_hmarked)
	for _hq in /proc/[0-9]*/stat; do
		{ read -r _hst <"$_hq"; } 2>/dev/null || continue
		_hpid=${_hst%% *}
		case $_hst in *") Z "* | *") X "*) continue ;; *") "*) ;; *) continue ;; esac
		set -- ${_hst##*") "}
		[ "$_hpid" = $$ ] && continue
		shift 1
		_hpar=$1 _hgrp=$2 _hses=$3
		shift 18
		if [ -n "$_hown" ] && { [ "$_hses" = "$_hfirst" ] || [ "$_hgrp" = "$_hfirst" ]; }; then
			_hleft="$_hleft $_hpid "
			_hknown="$_hknown $_hpid:$1 "
			continue
		fi
		case " $_hmarked " in *" $_hpid "*) _hleft="$_hleft $_hpid " _hknown="$_hknown $_hpid:$1 "; continue ;; esac
		case $_hknown in *" $_hpid:$1 "*) _hleft="$_hleft $_hpid "; continue ;; esac
		_hpairs="$_hpairs $_hpid:$_hpar:$1"
	done
	_hmore=1
	while [ "$_hmore" ]; do
		_hmore=
		for _hq in $_hpairs; do
			_hpid=${_hq%%:*} _hst=${_hq#*:}
			case $_hleft in *" $_hpid "*) continue ;; *" ${_hst%:*} "*)
				_hleft="$_hleft $_hpid " _hknown="$_hknown $_hpid:${_hst#*:} " _hmore=1 ;;
			esac
		done
	done
}

_hsignal() {
	[ "$_hfirst" != - ] && [ -n "$_hown" ] && kill -s "$1" -- "-$_hfirst" 2>/dev/null
	for _hq in $_hleft; do kill -s "$1" "$_hq" 2>/dev/null; done
}

# TERM to all that was found, $1 centiseconds of grace, then KILL at every look until nothing is found, or it is no use.
_hrungs() {
	_hnow
	_huntil=$((_ht + $1)) _htries=0
	[ "$1" -gt 0 ] && _hsignal TERM
	while [ -n "$_hleft" ]; do
		_hnow
		if [ "$_ht" -ge "$_huntil" ]; then
			_htries=$((_htries + 1))
			[ "$_htries" -gt 40 ] && break
			_hsignal KILL
		fi
		_hnap
		_hhunt
	done
}
