# Attempts on a host without Python, in POSIX sh: each in a folder of its own beneath the spool, each started once.
#
# A controller sends commands (functions of the last part) as text that is checked whole before it is read. What they
# begin is detached: one worker per slot, which takes waiting attempts in order and is the parent of their jobs; one
# watch per spool, for timeouts and the lease; one ladder per attempt that is to end. Everything that must happen once
# is the making of a hard link to a file that names its maker, so there is no moment at which something is claimed by
# nobody. Names begin with _h: jobs get the login's environment, and must not get ours. No command, environment or
# secret stands in an argument of a process, and nothing is evaluated that was not quoted by the controller.
#
# What is read while it is written is one short line, written over the last one in place (1<>): it is never empty for a
# moment, and a full disk has room for it. Longer things are renamed into place.
#
# The spool: a/N an attempt (cmd; b its beginning; p its process; out err; r, whose name becomes the result), c/N who
# has claimed it, B/N taken back, g/N acknowledged, s/K and n/K a slot's worker and what it runs, w the watch, t names
# of our processes, x the lease has ended, and conf line lease floor id mark. A serial N has ten digits.

# The same where nothing is urgent.
_hrest() { case $_hz in 0.*) sleep 0.3 ;; *) sleep "$_hz" ;; esac; }

# Whether the process that a file names lives.
_halive() {
	{ read -r _hp _hs _ho _hq <"$1"; } 2>/dev/null && [ "$_ho" = "$_hboot" ] && _hborn "$_hp" && [ "$_hb" = "$_hs" ]
}

# Name this process in a file that others are links to; more words may follow.
_hself() {
	_hnow
	_hname=$_hD/t/$1.$$.$_ht
	shift
	_hborn $$
	_hident="$$ $_hb $_hboot $*"
	echo "$_hident" >"$_hname"
}

# Claim something: true for one caller only.
_hclaim() { ln "$_hname" "$_hD/$1" 2>/dev/null; }

_hsetup() {
	_hboot=-
	{ read -r _hboot </proc/sys/kernel/random/boot_id; } 2>/dev/null
	{ read -r _hrun _hhost _hslots _hgrace _hexact _hz _hus _huid _hmax _hshell <"$_hD/conf"; } 2>/dev/null
}

# Run a part of this file on its own, away from the SSH session.
_hdetach() {
	if command -v setsid >/dev/null 2>&1; then
		setsid "$_hSH" "$_hD/attempt.sh" "$@" </dev/null >/dev/null 2>&1 &
	else
		(trap '' HUP; "$_hSH" "$_hD/attempt.sh" "$@" </dev/null >/dev/null 2>&1 &)
	fi
}

# What a process marked with $1 shows in /proc, into _hlim; nothing where there are no marks. A mark is a limit that
# Linux heeds nowhere, on resident memory, in KiB: nine digits of the spool's own, and seven of the attempt's serial.
# Every child has it, whatever it does to its session, environment and files. An account with such a limit keeps that,
# and where sh can set none so high there are none.
_hlimit() {
	set -- $("$_hSH" -c '[ "$(ulimit -S -m)/$(ulimit -H -m)" = unlimited/unlimited ] && ulimit -S -m "$1" &&
		grep "^Max resident set" "/proc/$$/limits"' hostler "$1" 2>/dev/null)
	_hlim=
	[ "$#" -ge 4 ] && [ "${#4}" = 19 ] && _hlim=$4
}

# -- an attempt's state ------------------------------------------------------------------------------------------

# The words of attempt N, if they are whole: the newline at their end is written last.
_hread() { { read -r _hmeta && IFS= read -r _hwords; } 2>/dev/null <"$_hD/a/$1/cmd"; }

# The result of attempt N into _hr: ending, code, signal, elapsed.
_hresult() {
	for _hr in "$_hD/a/$1"/r,*; do [ -e "$_hr" ] && _hr=${_hr##*/r,} && return 0; done
	return 1
}

_hfloor() { _hf=0; { read -r _hf <"$_hD/floor"; } 2>/dev/null; }

# Whether attempt N was here and is forgotten.
_hgone() { [ -e "$_hD/g/$1" ] || { _hfloor && [ "${1#"${1%%[!0]*}"}" -le "${_hf:-0}" ]; }; }

# Whether the lease is over; the time into _ht.
_hover() {
	_hnow
	_hdl=
	{ read -r _hdl _hlen <"$_hD/lease"; } 2>/dev/null
	[ "${_hdl:-$((_ht + 1))}" -le "$_ht" ]
}

# Forget what waits, as if it had never come.
_hdrop() {
	for _hd in "$_hD"/a/*; do
		_hn=${_hd##*/}
		[ -d "$_hd" ] && [ ! -e "$_hD/c/$_hn" ] && _hclaim "c/$_hn" && rm -rf "$_hd" "$_hD/c/$_hn"
	done
}

