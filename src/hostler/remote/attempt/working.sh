# -- the worker of one slot --------------------------------------------------------------------------------------

# The next attempt that waits, claimed, into _hn; none is begun after the lease's end.
_hnext() {
	for _hd in "$_hD"/a/*; do
		_hn=${_hd##*/}
		[ -e "$_hD/c/$_hn" ] && continue
		_hread "$_hn" && _hclaim "c/$_hn" || continue
		# A host that stood still may be later than its watch knows: its work may be another's by now.
		_hover && : >"$_hD/x"
		if [ -e "$_hD/x" ] || _hgone "$_hn"; then
			rm -rf "$_hd" "$_hD/c/$_hn"
			continue
		fi
		return 0
	done
	return 1
}

# Worker of slot $1: kill the shell $2 that waits for us, which detaches us without being a background process of a
# shell: such a one, and all its jobs, would be deaf to interrupts.
_hwork() {
	_hk=$1
	_hself "w$_hk"
	if _hclaim "s/$_hk"; then
		kill -9 "$2"
		unset SSH_AUTH_SOCK
		case ${SHLVL-} in '' | 0 | *[!0-9]*) SHLVL=1; export SHLVL ;; esac
		export _hD _hd _hk _hSH
		while _hsetup; do
			_hcount
			if [ "$_hk" -gt "${_hslots:-0}" ] || [ "$_hmany" -gt "$_hslots" ]; then
				rm -f "$_hD/s/$_hk" "$_hD/n/$_hk"
				_hbegin
				break
			fi
			if _hnext; then
				_hrunone
			else
				rm -f "$_hD/s/$_hk" "$_hD/n/$_hk"
				_hwaits && _hclaim "s/$_hk" || break
			fi
			_hmine || break
		done
		_hmine && rm -f "$_hD/s/$_hk" "$_hD/n/$_hk"
	else
		kill -9 "$2"
	fi
	rm -f "$_hname"
}

# How many workers there are.
_hcount() {
	_hmany=0
	for _hq in "$_hD"/s/*; do [ -e "$_hq" ] && _hmany=$((_hmany + 1)); done
}

# Whether the slot is still ours.
_hmine() { { IFS= read -r _hq <"$_hD/s/$_hk"; } 2>/dev/null && [ "$_hq" = "$_hident" ]; }

_hwaits() {
	[ -e "$_hD/x" ] && return 1
	for _hd in "$_hD"/a/*; do [ ! -e "$_hD/c/${_hd##*/}" ] && _hread "${_hd##*/}" && return 0; done
	return 1
}

# Run attempt _hn to its end, and record it by a rename, for which a full disk has room.
_hrunone() {
	_hd=$_hD/a/$_hn
	set -- $_hmeta
	_hnow
	_hbegan=$_ht
	_hdue=0
	[ "$1" -gt 0 ] && _hdue=$((_ht + $1))
	if ! { : >"$_hd/r" && : >"$_hd/out" && : >"$_hd/err" && echo "$_hn $_hdue" >"$_hD/n/$_hk" &&
		echo "$_ht" >"$_hd/b"; } 2>/dev/null; then
		_hclaim "B/$_hn" && rm -rf "$_hd"
		: >"$_hD/n/$_hk"
		return
	fi
	_hcall
	_hnow
	_hel=$((_ht - _hbegan))
	if [ -e "$_hd/k" ]; then
		_hkilled
	elif [ -z "$_hrc" ]; then
		# What waited for it was killed, so nobody will know how it ends: it ends now.
		: >"$_hd/h"
		_hclimb 0
		if [ -s "$_hd/left" ]; then _hput "kill-failed,-,0,$_hel"; else _hput "lost,-,0,$_hel"; fi
	else
		_hend "$_hcode" "$_hsig"
	fi
	: >"$_hD/n/$_hk"
}

# Run the job and tell an exit code from a signal: sh itself gives 137 for both, awk or time know better. Nothing in
# _hrc when those were killed.
_hcall() {
	_hjob='exec "$_hSH" "$_hD/job.sh"'
	command -v setsid >/dev/null 2>&1 && _hjob='exec setsid "$_hSH" "$_hD/job.sh"'
	_hcode=- _hsig=0
	case $_hexact in
	awk)
		export _hjob
		_hrc=$(awk 'BEGIN { r = system(ENVIRON["_hjob"]); printf "%d", r }' </dev/null)
		case $_hrc in *[!0-9]*) _hrc= ;; esac
		[ "${_hrc:-0}" -gt 511 ] && _hrc=$((_hrc - 256))
		;;
	time)
		_hrc=$(env time "$_hSH" -c "$_hjob" 2>&1 >/dev/null </dev/null; echo "rc $?")
		case $_hrc in
		*"erminated by signal "*) _hrc=${_hrc##*by signal } && _hrc=$((256 + ${_hrc%%[!0-9]*})) ;;
		"rc "*) _hrc= ;;
		*) _hrc=${_hrc##*rc } ;;
		esac
		;;
	*)
		"$_hSH" -c "$_hjob" </dev/null >/dev/null 2>&1
		_hrc=$?
		[ "$_hrc" -gt 128 ] && _hrc=$((_hrc % 128 + 256))
		;;
	esac
	if [ "${_hrc:-0}" -gt 255 ]; then _hsig=$((_hrc - 256)); else _hcode=${_hrc:--}; fi
}

# Record how an attempt ended by itself.
_hend() {
	if [ -e "$_hd/unset" ]; then _hput "staging-failed,-,0,$_hel"; return; fi
	if [ "$2" -gt 0 ]; then _he=signal; elif [ "$1" = 0 ]; then _he=ok; else _he=exit; fi
	_hput "$_he,$1,$2,$_hel"
}

_hput() {
	_hresult "$_hn" && return
	[ -e "$_hd/r" ] || : >"$_hd/r" 2>/dev/null
	until mv "$_hd/r" "$_hd/r,$1" 2>/dev/null; do
		[ -d "$_hd" ] || return
		_hresult "$_hn" && return
		_hnap
	done
}

# An attempt that is being killed is over once its ladder says so; a ladder that died is climbed anew.
_hkilled() {
	: >"$_hd/h"
	while [ ! -e "$_hd/kd" ] && _halive "$_hd/k" && [ -d "$_hd" ]; do _hnap; done
	{ read -r _hp _hs _ho _hkind _hkg <"$_hd/k"; } 2>/dev/null || return
	[ -e "$_hd/kd" ] || _hclimb 0
	if [ "$_hkind" = output-limit ]; then
		echo "its output passed $((_hmax / 2048)) MiB; the rest was dropped" >"$_hd/why"
		for _hq in out err; do
			[ "$(($(wc -c <"$_hd/$_hq") / 512))" -ge "$_hmax" ] &&
				dd if=/dev/null of="$_hd/$_hq" bs=512 seek="$_hmax" 2>/dev/null
		done
	fi
	if [ -s "$_hd/left" ]; then
		_hput "kill-failed,$_hcode,$_hsig,$_hel"
	elif [ -e "$_hd/ks" ]; then
		_hput "$_hkind,$_hcode,$_hsig,$_hel"
	else
		_hend "$_hcode" "$_hsig"
	fi
}

