# -- what is told to the controller --------------------------------------------------------------------------------

# once N TIME LENGTH: a short command, just begun: wait so long for its end, and tell it with so much output. What has
# been told whole leaves nothing behind.
_honce() {
	_hinline=$3 _hwhole=0
	_hnow
	_huntil=$((_ht + $2)) _htries=0
	while [ "$_ht" -lt "$_huntil" ] && ! _hresult "$1"; do
		_htries=$((_htries + 1))
		if [ "$_htries" -lt 5 ] && [ "$_hus" = 0.05 ]; then sleep 0.01; else sleep "$_hus"; fi
		_hnow
	done
	_hlookonce
	[ "$_hwhole" = 1 ] && _hdetach forget 0
}

# fetch N STREAM PLACE OFFSET LENGTH: a piece of output; PLACE counts from the stream's beginning, OFFSET the file's.
_hfetch() {
	set -- "$1" "$2" "$3" "$4" "$5" "$(($(wc -c <"$_hD/a/$1/$2") - $4))" 2>/dev/null
	[ "$6" -lt "$5" ] && set -- "$1" "$2" "$3" "$4" "$6"
	[ "$5" -gt 0 ] || set -- "$1" "$2" "$3" "$4" 0
	echo "O $1 $2 $3 $5"
	[ "$5" = 0 ] || tail -c "+$(($4 + 1))" "$_hD/a/$1/$2" | head -c "$5"
}

# look: tell what happens, until the line goes or another comes.
_hlook() {
	_hcalm=0 _hheart=0
	_hdetach sweep "${_hkeep:-7}"
	while :; do
		_hours
		_hnow
		_hnews=
		_hlookonce
		if [ "$_hnews" ]; then _hcalm=0; else _hcalm=$((_hcalm + 1)); fi
		if [ "$_ht" -ge "$_hheart" ]; then
			echo "T $_ht"
			_hheart=$((_ht + 100))
			[ "$_hcalm" -gt 3 ] && _hbegin
		fi
		if [ "$_hcalm" -lt 10 ]; then sleep "$_hus"; elif [ "$_hcalm" -lt 100 ]; then _hnap; else _hrest; fi
	done
}

# One look at all attempts. What was told of each stands in _hT<N> and _hZ<N>.
_hlookonce() {
	set --
	for _hd in "$_hD"/a/*; do
		_hn=${_hd##*/}
		if [ ! -e "$_hd/b" ]; then
			# Perhaps its worker died between claiming and beginning it.
			[ -e "$_hD/c/$_hn" ] && ! _halive "$_hD/c/$_hn" && [ -d "$_hd" ] && ! _halive "$_hd/k" && _hdetach bury "$_hn"
			continue
		fi
		eval "_hs=\${_hT$_hn-}"
		[ "$_hs" = done ] && continue
		set -- "$@" "$_hd/out" "$_hd/err"
	done
	for _hq in "$_hD"/B/*; do
		[ -s "$_hq" ] || continue
		_hn=${_hq##*/}
		eval "_hs=\${_hT$_hn-} _hT$_hn=done"
		[ "$_hs" = done ] || echo "F $_hn its disk is full"
	done
	[ "$#" -gt 0 ] || return 0
	_hout=0
	_hsizes=$(wc -c "$@" 2>/dev/null)
	while read -r _hsize _hfile; do
		case $_hfile in
		*/out) _hout=$_hsize ;;
		*/err) _hd=${_hfile%/err} && _hn=${_hd##*/} && _htell "$_hout" "$_hsize" ;;
		esac
	done <<-END
	$_hsizes
	END
}

# Tell what is new of attempt _hn, whose streams have these lengths.
_htell() {
	eval "_hwas=\${_hT$_hn-} _hold=\${_hZ$_hn-0 0}"
	if _hresult "$_hn"; then
		# Its streams may have grown between the look and the end.
		set -- $(wc -c <"$_hd/out") $(wc -c <"$_hd/err")
		[ "$#" = 2 ] || return 0
		eval "_hT$_hn=done; unset _hZ$_hn"
		_hnews=1 _hdetail= _hwhole=0
		{ read -r _hdetail <"$_hd/left" || read -r _hdetail <"$_hd/why"; } 2>/dev/null
		_hifs=$IFS
		IFS=,
		set -- $_hr "$1" "$2"
		IFS=$_hifs
		[ $(($5 + $6)) -le "${_hinline:-8192}" ] && _hwhole=1
		# Who listens only now can't tell from the end when it began.
		_hbegan=$_ht
		{ [ -n "$_hwas" ] || read -r _hbegan <"$_hd/b"; } 2>/dev/null
		[ $((_ht - _hbegan - $4)) -gt 100 ] && _hbeganago "$_hn"
		echo "E $_hn $1 $2 $3 $4 $5 $6 $_hwhole $_hdetail"
		[ "$_hwhole" = 1 ] && [ "$5" -gt 0 ] && head -c "$5" "$_hd/out"
		[ "$_hwhole" = 1 ] && [ "$6" -gt 0 ] && head -c "$6" "$_hd/err"
		return 0
	fi
	if ! _halive "$_hD/c/$_hn" && ! _hresult "$_hn" && ! _halive "$_hd/k"; then
		_hdetach bury "$_hn"
		return 0
	fi
	if [ -z "$_hwas" ]; then
		{ read -r _hbegan <"$_hd/b"; } 2>/dev/null
		[ $((_ht - ${_hbegan:-$_ht})) -gt 5 ] || return 0
		_hbeganago "$_hn"
		eval "_hT$_hn=begun"
		_hnews=1
	fi
	if [ "$_hold" != "$1 $2" ]; then
		echo "S $_hn $1 $2"
		eval "_hZ$_hn='$1 $2'"
		_hnews=1
	fi
}

