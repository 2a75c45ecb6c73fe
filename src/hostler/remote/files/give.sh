# Gives files as tars, one behind the other; behind the last a block that begins with the mark and how it went.
# Set before: _hb folder, _hn mark, and g, which gives some names and is called by what follows this.
command -v tar >/dev/null 2>&1 || { echo 'hostler: neither python3 nor tar on this host' >&2; exit 1; }
cd "$_hb" || exit 1
_hx=0
g() { tar -cf - "$@" || _hx=1; }
