# What there is beneath a root, for hosts without Python: NUL-ended fields, three for each name (facts, name, target).
# Set before: _hp path, _hw name to be within or nothing, _hc 1 for SHA-256, _hn the mark, _hq 1 to list
# nothing that holds the home, _ho 1 to list no folder.
case $_hp in '' | '~') _hp=$HOME ;; '~/'*) _hp=$HOME/${_hp#'~/'} ;; esac
if [ -n "$_hw" ]; then
    case $_hp in */) _hp=$_hp$_hw ;; *) if [ -d "$_hp" ]; then _hp=$_hp/$_hw; fi ;; esac
fi
case $_hp in /*) ;; *) _hp=$HOME/$_hp ;; esac
while :; do case $_hp in ?*/) _hp=${_hp%/} ;; *) break ;; esac; done
_hd=${_hp%/*}
_hk=-
if [ -d "$_hp" ]; then _hk=d
elif [ -f "$_hp" ]; then _hk=f
elif [ -h "$_hp" ]; then _hk=l
elif [ -e "$_hp" ]; then _hk=s
fi
_ha=0
if [ -d "${_hd:-/}" ]; then _ha=2; fi
_hh=$(cd "$HOME" 2>/dev/null && pwd -P)
_hr=$(cd "$_hp" 2>/dev/null && pwd -P)
if [ -n "$_hr" ]; then case $_hh/ in "${_hr%/}"/*) _ha=$((_ha + 1)) ;; esac; fi
printf '%s\0' "$_hn" "$_hk" "$_ha" "$_hp"

# One name at a time, where find can't tell all by itself.
_hone='
for f; do
    t=
    if s=$(stat -c %f\ %s\ %Y "$f" 2>/dev/null); then s="x $s"
    elif s=$(stat -f %p\ %z\ %m "$f" 2>/dev/null); then s="o $s"
    else
        s=$(ls -ld "$f" 2>/dev/null) || continue
        n=0; if [ -f "$f" ] && [ ! -h "$f" ]; then n=$(wc -c <"$f" 2>/dev/null) || n=0; fi
        s="t ${s%"${s#??????????}"} $((n)) 0"
    fi
    if [ -h "$f" ]; then t=$(readlink "$f"; echo .); t=${t%??}; fi
    printf "%s\0" "$s" "$f" "$t"
done'
_hsum='
for f; do
    s=$(sha256sum <"$f") && printf "%s\0" "h ${s%% *}" "$f" ""
done'
_hx=0
if [ "$_hq$_ha" = 13 ] || [ "$_hq$_ha" = 11 ] || [ "$_ho$_hk" = 1d ]; then
    :
elif [ "$_hk" = d ]; then
    cd "$_hp" && {
        if find /dev/null -printf '' 2>/dev/null; then
            find . -printf '%y %m %s %T@\0%p\0%l\0' || _hx=1
        else
            find . -exec sh -c "$_hone" sh {} + || _hx=1
        fi
        if [ "$_hc" = 1 ]; then find . -type f -exec sh -c "$_hsum" sh {} + || _hx=1; fi
    } || _hx=1
elif [ "$_hk" = f ]; then
    cd "${_hd:-/}" && {
        _hf=./${_hp##*/}
        if find /dev/null -printf '' 2>/dev/null; then
            find -H "$_hf" -printf '%y %m %s %T@\0.\0\0' || _hx=1
        else
            _ht=$(sh -c "$_hone" sh "$_hf" | tr '\0' '\n' | head -n 1)
            printf '%s\0' "$_ht" . ''
        fi
        if [ "$_hc" = 1 ]; then _hs=$(sha256sum <"$_hf") && printf '%s\0' "h ${_hs%% *}" . ''; fi
    } || _hx=1
fi
printf '%s\0' "$_hn end" "$_hx" ''
