# One command on one line, in POSIX sh: begun as the first process of a session of its own, its streams the channel's
# own, ended with all that it began when it is asked for, when its time is up, or when nobody is there any more.
#
# A controller sends this whole, behind hunting.sh and with its own values in front: _hN a mark that nobody can know,
# _hid the attempt's name, _hmark and _hlim its mark among limits as set and as shown, _hgrace in centiseconds, _htime
# and _hwhole seconds that it may take or nothing, _hsh 1 for text for a shell, _hshell which one, _hcd its folder,
# function _henv; with _hsends a function _hstdin that writes what the command is to read, with _hscripts _hscript that
# writes the script and _hinterpreted that begins it from a file. Everything said on either stream stands on lines that begin with _hN:
# b begins, x why it could not be set up, c its end, l who could not be ended, e the end of all. What stands between is
# the command's own. Nothing is written to a disk unless there is a script or input, and nothing of ours stays.
#
# Who is there: this shell, which waits; one that listens for a word from the controller, or for the end of that; and
# one that waits for the command and is heard by the first, because sh tells exit code 137 from KILL only by a word on
# stderr. A command in the background would be deaf to interrupts, so it is the listener who is there.

# The command's first process, and when it was born: a leader of a session, begun by a child of this shell.
_hwho() {
	_hkids=' '
	if [ "$_hwas" = - ]; then
		for _hq in /proc/[0-9]*/stat /proc/[0-9]*/stat; do
			{ read -r _hst <"$_hq"; } 2>/dev/null || continue
			_hpid=${_hst%% *}
			set -- ${_hst##*") "}
			[ "$2" = $$ ] && _hkids="$_hkids$_hpid "
			[ "$4" = "$_hpid" ] || continue
			case $_hkids in *" $2 "*) _hwas=$_hpid && shift 19 && _hwasb=$1 && break ;; esac
		done
	fi
	_hfirst=$_hwas _hfb=$_hwasb
}

# End all that there is of the command, with $1 centiseconds of grace, and leave with code $2; 0 when nothing was found.
_hladder() {
	_hdone= _hwas=- _hwasb=- _hknown='' _hown=1 _hd=/- _hz=1 _hrounds=0
	trap '_hdone=1' TERM
	trap '' HUP INT PIPE
	sleep 0.01 2>/dev/null && _hz=0.1
	_hhunt
	while [ -z "$_hleft$_hdone" ] && [ "$_hrounds" -lt 30 ]; do
		_hrounds=$((_hrounds + 1)) # it is just being started
		_hnap
		_hhunt
	done
	[ -n "$_hleft" ] || exit 0
	_hrungs "$1"
	[ -z "$_hleft" ] || echo "$_hN l" $_hleft >&6
	exit "$2"
}

_hlisten() {
	while read -r _hw _hg; do [ "$_hw" = k ] && _hladder "$_hg" 10; done
	_hladder "$_hgrace" 12
}

_hclock() {
	trap 'kill $! 2>/dev/null; exit 0' TERM
	sleep "$_htime" 6>&- &
	wait $! || {
		sleep "$_hwhole" 6>&- &
		wait $!
	}
	_hladder "$_hgrace" 11
}

# A file of ours alone, in _hf, with what function $1 writes.
_hkeep() {
	_hf=${TMPDIR:-/tmp}/.hostler-${_hN#?}$1
	(umask 077; set -C; "$1" >"$_hf") 2>/dev/null || { rm -f "$_hf"; return 1; }
}

# Set up the command and wait for it; its exit code, behind what sh itself has to say about its end.
_hwork() {
	exec 3<&-
	unset SSH_AUTH_SOCK
	case ${SHLVL-} in '' | 0 | *[!0-9]*) SHLVL=1; export SHLVL ;; esac
	_henv
	case $_hcd in '~' | '~/'*) _hcd=$HOME${_hcd#?} ;; esac
	if [ -n "$_hcd" ] && ! CDPATH= cd -- "$_hcd" 2>/dev/null; then
		_hq='no such folder on this host'
		[ -d "$_hcd" ] && _hq="can't be entered"
		echo "!--workdir $_hcd: $_hq"
		return
	fi
	if [ -n "$_hsends" ]; then
		_hkeep _hstdin || { echo "!its input can't be put into ${TMPDIR:-/tmp}"; return; }
		exec <"$_hf"
		rm -f "$_hf"
	fi
	if [ "$_hsh" = 1 ]; then
		_hshell=${_hshell:-${SHELL:-/bin/sh}}
		case ${_hshell##*/} in csh | tcsh | fish | nologin | false | nu | elvish | xonsh | pwsh) _hshell=/bin/sh ;; esac
		[ -x "$_hshell" ] || _hshell=/bin/sh
		set -- "$_hshell" -c "$1"
	fi
	_hf=
	if [ -n "$_hscripts" ]; then
		_hkeep _hscript || { echo "!the script can't be put into ${TMPDIR:-/tmp}"; return; }
		_hbegun=$_hf
		exec 9<"$_hf"
		[ -r /dev/fd/9 ] && rm -f "$_hf" && _hbegun=/dev/fd/9
		_hinterpreted "$_hbegun" "$@"
	else
		_hbegin "$@"
	fi
	trap - CHLD
	[ -z "$_hf" ] || rm -f "$_hf"
	echo "=$_hrc"
}

# Begin the command and wait for it; its exit code into _hrc, and in what is printed how it ended. bash says nothing of
# that unless it is asked, before it has been waited for; but its jobs in the background can be made to hear interrupts.
_hbegin() {
	if [ -z "${BASH_VERSION-}" ]; then
		(_hexec "$@") >&6 2>&7 6>&- 7>&-
		_hrc=$?
		return
	fi
	_hran=
	trap 'echo "@$!"; jobs -l; wait $!; _hran=$?' CHLD
	(trap - INT QUIT CHLD; _hexec "$@") <&0 >&6 2>&7 6>&- 7>&- &
	wait $!
	_hrc=$?
	[ -z "$_hran" ] || { [ "$_hran" = 127 ] && [ "$_hrc" != 145 ]; } || _hrc=$_hran
}

_hexec() {
	ulimit -S -m "$_hmark" 2>/dev/null
	case $1 in
	*/*) ;;
	*) if ! command -v -- "$1" >/dev/null; then
		echo "hostler: $1: command not found (PATH is ${PATH-not set})" >&2
		exit 127
	fi ;;
	esac
	case $1 in -*) set -- env -- "$@" ;; esac
	[ -z "$_hf" ] || exec setsid "$@" 9<&9 # ksh hands on only what it is told to
	exec setsid "$@"
}

# Tell how the command ended, by what _hwork said: its exit code on the last line, behind what sh said before it.
_hjudge() {
	_hm= _hlast=${1##*"$_hnl"}
	case $_hlast in
	!*) echo "$_hN x ${_hlast#!}" >&6 ;;
	=*)
		case $1 in
		@*) # there may be more jobs on the list
			_hq=${1#@}
			_hq=${1#*" ${_hq%%"$_hnl"*} "}
			case $_hq in Done* | Exit*) ;; *) _hm=s ;; esac
			;;
		*"$_hnl"*) _hm=s ;;
		esac
		echo "$_hN c ${_hlast#=} $_hm" >&6
		;;
	esac
}

_hgo() {
	if [ ! -r /proc/self/stat ] || ! command -v setsid >/dev/null 2>&1; then
		echo "$_hN u"
		exit 0
	fi
	exec 3<&0 6>&1 7>&2 </dev/null >/dev/null 2>&1
	_hnl='
'
	echo "$_hN b" >&6
	echo "$_hN b" >&7
	_hlisten <&3 3<&- 7>&- &
	_hR=$! _hT= _hb=
	if [ -n "$_htime" ]; then
		_hclock 3<&- 7>&- &
		_hT=$!
	fi
	_hjudge "$(_hwork "$@" 2>&1)"
	trap '' PIPE
	kill "$_hR" $_hT
	wait "$_hR"
	_ha=$?
	[ -z "$_hT" ] || { wait "$_hT"; _hb=$?; }
	echo "$_hN e $_ha $_hb" >&6
	echo "$_hN e" >&7
	exit 0
}
