
while :; do
    code=0; {command} || code=$?
    { [ "$code" -eq 5 ] && [ "$(seconds)" -lt 1800 ]; } || break # 5: nothing is wrong, try again.
    rm -f "$result"; sleep 15
done
case $code in
    0) say "DONE: this machine is a Docker host" ;;
    6) say "DONE but for a reboot: what is left runs by itself after it" ;;
    *) [ -e "$result" ] || fail "$code" "rprov ended with exit code $code: the error is above"
       say "FAILED with exit code $code: the error is above and in $result" ;;
esac
exit "$code"
