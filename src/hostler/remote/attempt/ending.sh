# -- ending attempts -------------------------------------------------------------------------------------------

# The first process of attempt _hn, and when it was born.
_hwho() { { read -r _hfirst _hfb <"$_hd/p"; } 2>/dev/null; }

# TERM to all, grace, KILL, and a look whether anything is left, which is then named.
_hclimb() {
	_hread "$_hn"
	set -- $_hmeta "$1"
	_hid=$_huid/$2/$3 _hknown='' _hown=
	command -v setsid >/dev/null 2>&1 && _hown=1
	shift 4
	_hlim=
	{ read -r _hq <"$_hD/mark"; } 2>/dev/null && [ "$_hq" != - ] && _hlimit "$_hq${_hn#???}"
	_htries=0
	_hhunt
	while [ -z "$_hleft" ] && [ ! -e "$_hd/h" ] && ! _hresult "$_hn" && _halive "$_hD/c/$_hn"; do
		_htries=$((_htries + 1)) # it is just being started
		[ "$_htries" -gt 600 ] && break
		_hnap
		_hhunt
	done
	rm -f "$_hd/left"
	if [ -n "$_hleft" ]; then
		: >"$_hd/ks"
		_hrungs "$1"
	fi
	[ -z "$_hleft" ] || echo "still alive: pid" $_hleft >"$_hd/left"
	: >"$_hd/kd"
}

# Whether attempt N is being ended, or what there was of it has been.
_hending() { [ -e "$_hD/a/$1/kd" ] || _halive "$_hD/a/$1/k"; }

# End attempt $1 as $2, after $3 centiseconds of grace; a ladder that died halfway is climbed anew. When nobody else
# will record the result, do so.
_hladder() {
	_hn=$1 _hd=$_hD/a/$1 _hkind=$2
	[ -d "$_hd" ] && [ -e "$_hD/c/$_hn" ] || return
	_hself "k$_hn" "$2" "$3"
	if ! _hresult "$_hn" && { _hclaim "a/$_hn/k" ||
		{ ! _hending "$_hn" && ln "$_hname" "$_hname.k" && mv -f "$_hname.k" "$_hd/k"; }; }; then
		_hclimb "$3"
		_hrecord
	fi
	rm -f "$_hname"
}

# Write the result of an attempt whose worker is dead, or waits for a process that can't be ended.
_hrecord() {
	_hnow
	{ for _hq in out err; do [ -e "$_hd/$_hq" ] || : >"$_hd/$_hq"; done; [ -e "$_hd/b" ] || echo "$_ht" >"$_hd/b"; } 2>/dev/null
	_hbegan=$_ht
	{ read -r _hbegan <"$_hd/b"; } 2>/dev/null
	_hel=$((_ht - _hbegan))
	if [ -s "$_hd/left" ] && [ ! -e "$_hd/h" ]; then
		_hput "kill-failed,-,0,$_hel"
		for _hq in "$_hD"/n/*; do
			{ read -r _hm _hs <"$_hq"; } 2>/dev/null && [ "$_hm" = "$_hn" ] && rm -f "$_hq" "$_hD/s/${_hq##*/}"
		done
	elif ! _halive "$_hD/c/$_hn"; then
		_hput "$_hkind,-,0,$_hel"
	fi
}

# A worker died under this attempt: end what is left of it, and record it as lost.
_hbury() {
	_hresult "$1" || _halive "$_hD/a/$1/k" && return
	rm -f "$_hD/a/$1/k" "$_hD/a/$1/kd"
	_hladder "$1" lost 0
}

# Watch over the lease, the timeouts and the length of outputs until no worker is left.
_hwatch() {
	_hself w
	_hturn=0 _hidle=0
	_hclaim w || { _halive "$_hD/w" || { rm -f "$_hD/w" && _hclaim w; } || { rm -f "$_hname"; return; }; }
	while [ -d "$_hD/a" ] && [ "$_hidle" -lt 10 ]; do
		_hrest
		_hturn=$((_hturn + 1)) _hidle=$((_hidle + 1))
		if _hover; then
			_hexpire "$_hgrace"
			break
		fi
		for _hq in "$_hD"/s/*; do [ -e "$_hq" ] && _hidle=0 && break; done
		for _hq in "$_hD"/n/*; do
			_hm='' _hdue=0
			{ read -r _hm _hdue <"$_hq"; } 2>/dev/null && [ -n "$_hm" ] || continue
			if [ -e "$_hD/a/$_hm/k" ]; then
				_hending "$_hm" || { { read -r _hp _hs _ho _hkind _hkg <"$_hD/a/$_hm/k"; } 2>/dev/null &&
					_hdetach ladder "$_hm" "$_hkind" "$_hkg"; }
			elif [ "${_hdue:-0}" -gt 0 ] && [ "$_ht" -ge "$_hdue" ]; then
				_hdetach ladder "$_hm" timeout "$_hgrace"
			fi
		done
		[ $((_hturn % 7)) = 0 ] && find "$_hD/a" -type f -name '[oe][ur][tr]' -size "+${_hmax:-2097152}" 2>/dev/null |
			while read -r _hq; do
				_hq=${_hq%/*}
				[ -e "$_hq/k" ] || _hdetach ladder "${_hq##*/}" output-limit 100
			done
	done
	rm -f "$_hD/w"
	for _hq in "$_hD"/s/*; do [ -e "$_hq" ] && [ ! -e "$_hD/x" ] && _hdetach watch && break; done
	rm -f "$_hname"
}

# The lease has ended: what waits is as if never seen, what runs is ended.
_hexpire() {
	: >"$_hD/x"
	_hdrop
	for _hq in "$_hD"/n/*; do
		_hm=
		{ read -r _hm _hs <"$_hq"; } 2>/dev/null
		[ -n "$_hm" ] && ! _hresult "$_hm" && _hdetach ladder "$_hm" interrupted "$1"
	done
}

# Nothing of this run is wanted any more: end all, and leave nothing.
_hforget() {
	_hself f
	_hexpire "$1"
	_htries=0
	while [ "$_htries" -lt 600 ]; do
		_hbusy=
		for _hq in "$_hD"/s/* "$_hD"/t/k*; do
			[ -e "$_hq" ] && _halive "$_hq" && _hbusy=1 && break
		done
		[ -n "$_hbusy" ] || break
		_htries=$((_htries + 1))
		_hnap
	done
	rm -rf "$_hD" || rm -rf "$_hD"
	rmdir "${_hD%/*}" 2>/dev/null
}

# Remove spools beside ours that nobody has written to for $1 days, and that no process of ours holds.
_hsweep() {
	_hglance=0
	for _ho in "${_hD%/*/*}"/*/*.sh; do
		_hglance=$((_hglance + 1))
		[ "$_hglance" -gt 256 ] && break
		[ "$_ho" != "$_hD" ] && [ -d "$_ho/a" ] && [ ! -L "$_ho" ] || continue
		[ -z "$(find "$_ho" -prune -mtime "-$1"; find "$_ho/t" "$_ho/lease" -mtime "-$1" 2>/dev/null)" ] || continue
		_hbusy=
		for _hq in "$_ho"/s/* "$_ho/w"; do [ -e "$_hq" ] && _halive "$_hq" && _hbusy=1; done
		[ -n "$_hbusy" ] || { rm -rf "$_ho"; rmdir "${_ho%/*}" 2>/dev/null; }
	done
}

