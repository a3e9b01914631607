#!/bin/sh
# The page: which partition this runs from and why, every partition's state, and the way out.
export PATH=/sbin:/bin

html() { sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g'; }

page() { # page TITLE [HEAD]: up to the body's contents
    cat <<HTML
Content-Type: text/html; charset=utf-8
Cache-Control: no-store

<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>$1</title>
<meta name="viewport" content="width=device-width, initial-scale=1">${2:-}
<style>
:root { --ink: #1d2733; --dim: #667585; --line: #dde3e9; --card: #fff; --back: #f1f4f7; color-scheme: light dark }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6ebf0; --dim: #93a1b0; --line: #303a45; --card: #1b222a; --back: #12171c } }
body { margin: 0; padding: 6vh 1rem; background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 42rem; margin: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: 12px; padding: 2rem; box-sizing: border-box }
h1 { margin: 0; font-size: 1.6rem } p { margin: .4rem 0 } .dim, th { color: var(--dim) }
.note { margin-top: 1rem; padding: .6rem 1rem; border-left: 4px solid #d9822b; background: #d9822b1f }
table { width: 100%; border-collapse: collapse; margin: 1.6rem 0 } th { font-weight: 500; text-align: left }
th, td { padding: .5rem .6rem .5rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
.OK, .Clean, .Dirty { padding: .1rem .6rem; border-radius: 1rem; font-size: .85rem; color: #fff }
.OK { background: #1a7f4b } .Clean { background: #2468b4 } .Dirty { background: #b4352a }
button { font: inherit; padding: .5rem 1.2rem; margin-right: .5rem; border-radius: 8px; cursor: pointer;
  border: 1px solid var(--line); background: var(--back); color: inherit }
</style></head><body><main>
HTML
}

if [ "$REQUEST_METHOD" = POST ]; then
    case $(head -c "${CONTENT_LENGTH:-0}") in
    do=reboot) how=reboot; page Restarting '<meta http-equiv="refresh" content="15; url=/">' ;;
    do=poweroff) how=poweroff; page "Powering off" ;;
    *)
        printf 'Status: 400 Bad Request\n\n'
        exit
        ;;
    esac
    [ $how = reboot ] && echo "<h1>Restarting</h1><p class=dim>This page looks again in 15 seconds." ||
        echo "<h1>Powering off</h1><p class=dim>You may close this page."
    # A second later, on its own, so that this answer gets out first.
    setsid sh -c "sleep 1; $how" </dev/null >/dev/null 2>&1 &
    exit
fi

partition=$(bstate which | html)
page "Knownstate: ${partition:-?}"
echo "<h1>Running from ${partition:-an unknown partition}</h1>"
uptime=$(cut -d. -f1 /proc/uptime)
printf '<p class=dim>up %d h %02d min %02d s &middot; Linux %s\n' \
    $((uptime / 3600)) $((uptime / 60 % 60)) $((uptime % 60)) "$(uname -r)"

sed 's/^bstate: //' /www/said 2>/dev/null | html | sed 's/^/<p class=note>/'

# The record has one key a line; P1=Clean and P1.failures=0 make a row.
bstate show | html | awk -F= -v here="$partition" '
    { value = substr($0, length($1) + 2) }
    value ~ /^(OK|Clean|Dirty)$/ { state[$1] = value; name[++n] = $1; next }
    { field[$1] = value }
    END {
        for (i = 1; i <= n; i++)
            if ((why = field[name[i] ".why"]) != "")
                print "<p class=note><b>" name[i] "</b> " why
        print "<table><tr><th>Partition<th>State<th>Failures<th>Crashes"
        for (i = 1; i <= n; i++) {
            p = name[i]
            print "<tr><td>" (p == here ? "<b>" p "</b> <span class=dim>running</span>" : p) \
                "<td><span class=" state[p] ">" state[p] "</span><td>" field[p ".failures"] "<td>" field[p ".crashes"]
        }
        print "</table>"
    }'
cat <<'HTML'
<form method="post" action="/cgi-bin/index.cgi">
<button name="do" value="reboot">Restart</button><button name="do" value="poweroff">Power off</button>
</form></main></body></html>
HTML
