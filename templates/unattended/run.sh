
try=1
while :; do
    code=0
    {command} || code=$?
    # 5: nothing is wrong, try again.
    { [ "$code" -eq 5 ] && [ "$try" -lt {tries} ]; } || break
    try=$((try + 1))
    sleep 15
done
case $code in
    0) say "DONE: this machine is a Docker host" ;;
    6) say "DONE but for a reboot: what is left runs by itself after it" ;;
    *) say "FAILED with exit code $code: the error is above and in /run/rprov/result.json" ;;
esac
exit "$code"
