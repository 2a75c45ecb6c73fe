# -- what a controller says ------------------------------------------------------------------------------------

# enter SPOOL EPOCH TOKEN STAMP: every later command begins so. STAMP is the newest of our times that was heard of.
_henter() {
	_hD=$1
	[ -d "$_hD/a" ] || _hleave - "its spool is gone"
	_hsetup
	_hepoch=$2 _htoken=$3
	_hours || exit 0
	_hrenew "$4"
	_hself c
	_hnow
	echo "T $_ht"
}

_hleave() {
	echo "X $1 $2"
	exit 0
}

# Whether the line that speaks is the one that counts.
_hours() {
	_hle=0 _hlt=
	{ read -r _hle _hlt <"$_hD/line"; } 2>/dev/null || { [ -d "$_hD/a" ] || _hleave - "its spool is gone"; return 0; }
	[ "$_hle" -gt "$_hepoch" ] && _hleave '!' "a newer controller has taken this run over"
	[ "$_hlt" = "$_htoken" ] || _hleave - "another line came"
	[ -e "$_hD/x" ] && _hleave - "the lease has ended"
	return 0
}

_hrenew() {
	[ "$1" -gt 0 ] || return 0
	_hdl=0 _hlen=0
	{ read -r _hdl _hlen <"$_hD/lease"; } 2>/dev/null
	[ "$_hlen" -gt 0 ] && [ $(($1 + _hlen)) -gt "$_hdl" ] && echo "$(($1 + _hlen)) $_hlen" 1<>"$_hD/lease"
	return 0
}

# Every answer ends so, with the time.
_hdone() {
	rm -f "$_hname"
	_hnow
	echo ". $_ht"
}

# Look whether there is room for the output of jobs; why not, into _hfull.
_hroom() {
	_hfull=
	set -- $(df -Pk "$_hD" 2>/dev/null | tail -n 1)
	[ "$#" -ge 6 ] || return 0
	_hleast=$(($2 / 50))
	[ "$_hleast" -gt 16384 ] && _hleast=16384
	[ "$4" -lt "$_hleast" ] && _hfull="its disk has $4 KiB free"
	return 0
}

# start N META WORDS: have an attempt wait for a slot; answered only when it won't.
_hstart() {
	if [ -e "$_hD/B/$1" ]; then
		if [ -s "$_hD/B/$1" ]; then echo "F $1 its disk is full"; else echo "R $1"; fi
	elif [ -e "$_hD/c/$1" ]; then
		:
	elif _hgone "$1"; then
		echo "L $1 it was here before, and is forgotten"
	elif ! _hread "$1"; then
		mkdir "$_hD/a/$1" 2>/dev/null
		if [ -n "$_hfull" ] || ! _hkeep "$@"; then
			_hclaim "c/$1" && _hclaim "B/$1" && rm -rf "$_hD/a/$1"
			echo "F $1 ${_hfull:-its disk is full}"
		fi
	fi
}

# Write down what an attempt is to do. Whoever comes second, while the first one writes or has died over it, puts a
# whole file in place of that: what is read already must never be short for a moment.
_hkeep() {
	set -C
	{ _hwrite "$2" "$3" >"$_hD/a/$1/cmd"; } 2>/dev/null
	_hq=$?
	set +C
	[ "$_hq" = 0 ] || { _hwrite "$2" "$3" >"$_hname.cmd" && mv -f "$_hname.cmd" "$_hD/a/$1/cmd"; } 2>/dev/null ||
		{ rm -f "$_hname.cmd" && return 1; }
}

_hwrite() {
	echo "$1" && _hemit "$2
"
}

# Text as it is: in mksh printf is a program, and would show it in its arguments.
_hemit() { if [ -n "${KSH_VERSION-}" ]; then print -rn -- "$1"; else printf %s "$1"; fi; }

# begin: see that waiting attempts have workers, and workers a watch.
_hbegin() {
	_hwant=0
	[ -e "$_hD/x" ] && return
	for _hd in "$_hD"/a/*; do
		[ -d "$_hd" ] && [ ! -e "$_hD/c/${_hd##*/}" ] && _hwant=$((_hwant + 1))
		[ "$_hwant" -ge "$_hslots" ] && break
	done
	_hi=0
	while [ "$_hi" -lt "$_hslots" ] && [ "$_hwant" -gt 0 ]; do
		_hi=$((_hi + 1))
		if [ -e "$_hD/s/$_hi" ]; then
			_halive "$_hD/s/$_hi" && continue
			rm -f "$_hD/s/$_hi"
		fi
		_hcount
		[ "$_hmany" -lt "$_hslots" ] || break
		{ "$_hSH" -c 'umask 077; if command -v setsid >/dev/null 2>&1; then setsid "$1" "$2" work "$3" $$; else
			"$1" "$2" work "$3" $$; fi; :' hostler "$_hSH" "$_hD/attempt.sh" "$_hi" </dev/null >/dev/null; } 2>/dev/null
		_hwant=$((_hwant - 1))
	done
	if [ "$_hi" -gt 0 ] && ! _halive "$_hD/w"; then _hdetach watch; fi
}

# resize SLOTS: so many jobs at once from now on; what runs goes on.
_hresize() {
	echo "$_hrun $_hhost $1 $_hgrace $_hexact $_hz $_hus $_huid $_hmax $_hshell" >"$_hname.conf" && mv "$_hname.conf" "$_hD/conf"
	_hsetup
	_hbegin
}

# revoke N: see that an attempt never starts, or say that it has.
_hrevoke() {
	if [ -e "$_hD/B/$1" ]; then
		echo "R $1"
	elif [ ! -e "$_hD/c/$1" ] && _hgone "$1"; then
		echo "L $1 it was here before, and is forgotten"
	elif _hclaim "c/$1"; then
		: >"$_hD/B/$1"
		rm -rf "$_hD/a/$1"
		echo "R $1"
	elif ! _hresult "$1"; then
		_hbeganago "$1"
	fi
}

_hbeganago() {
	_hnow
	_hbegan=$_ht
	{ read -r _hbegan <"$_hD/a/$1/b"; } 2>/dev/null
	echo "B $1 $((_ht - _hbegan))"
}

# kill GRACE ENDING N...: end what runs.
_hkill() {
	_hg=$1 _hkind=$2
	shift 2
	for _hm in "$@"; do
		[ -e "$_hD/c/$_hm" ] && [ -d "$_hD/a/$_hm" ] && ! _hending "$_hm" && ! _hresult "$_hm" &&
			_hdetach ladder "$_hm" "$_hkind" "$_hg"
	done
}

# ack N...: results that are on the controller's disk; that they were here is remembered.
_hack() {
	for _hm in "$@"; do
		[ -e "$_hD/c/$_hm" ] && _hresult "$_hm" && : >"$_hD/g/$_hm" && rm -rf "$_hD/a/$_hm" "$_hD/c/$_hm"
	done
}

# settled N: nothing up to here will ever be spoken of again; one number replaces their marks.
_hsettled() {
	echo "$1" 1<>"$_hD/floor"
	for _hd in "$_hD"/g/* "$_hD"/B/*; do
		_hm=${_hd##*/}
		[ -e "$_hd" ] && [ "${_hm#"${_hm%%[!0]*}"}" -le "$1" ] && rm -rf "$_hd" "$_hD/c/$_hm"
	done
}

# forget GRACE SECONDS: end everything here, and wait so long for it.
_hforgetall() {
	_hdetach forget "$1"
	_hnow
	_huntil=$((_ht + $2))
	while [ -d "$_hD" ] && [ "$_ht" -lt "$_huntil" ]; do
		_hnap
		_hnow
	done
}

