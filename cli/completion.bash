# cli/completion.bash - bash completion of muster; installs as bash-completion/completions/muster.

# The values of an option; false: it is an option without values that could be listed.
_muster_value()
{
    case $1 in
        --engine) COMPREPLY=($(compgen -W 'js lua' -- "$cur")) ;;
        --type) COMPREPLY=($(compgen -W 'dedicated service shared client' -- "$cur")) ;;
        --placement)
            COMPREPLY=($(compgen -W 'thread process process-per-site process-per-worker round-robin random least-loaded power-of-two affinity' -- "$cur")) ;;
        --state) compopt -o filenames; COMPREPLY=($(compgen -d -- "$cur")) ;;
        --trust) COMPREPLY=($(compgen -W 'script full none' -- "$cur")) ;;
        --isolation) COMPREPLY=($(compgen -W 'thread process process-per-site process-per-worker' -- "$cur")) ;;
        --level) COMPREPLY=($(compgen -W 'error warning info debug' -- "$cur")) ;;
        --listen | --threads | --idle-timeout | --grace-timeout | --event-timeout | --body-limit | --spare | --processes | \
            --lines | --tenant | --name | --timeout | --url | --resolve) ;;
        --ca) compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")) ;;
        *) return 1 ;;
    esac
}

# The scopes of the running server: of the one that --state names, if the line does.
_muster_scopes()
{
    local i state=()
    for ((i = 2; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} == --state ]] && state=(--state "${COMP_WORDS[i + 1]}")
    done
    COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" ps "${state[@]}" 2>/dev/null | sed -e 1,2d -e 's/ .*//')" -- "$cur"))
}

# How many operands stand before the word that is completed.
_muster_operands()
{
    local i count=0
    for ((i = 2; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            --state | --timeout | --engine | --trust | --tenant | --isolation | --lines | --level) ((i++)) ;;
            -*) ;;
            *) ((count++)) ;;
        esac
    done
    return "$count"
}

_muster_files()
{
    compopt -o filenames 2>/dev/null
    local IFS=$'\n'
    COMPREPLY=($(compgen -f -- "$cur"))
}

_muster()
{
    local cur=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} options
    local IFS=$' \t\n'
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W 'serve run ps send register update unregister stop logs stats --help --version' -- "$cur"))
        return
    fi
    case ${COMP_WORDS[1]} in
        serve)
            options='--listen --state --threads --placement --processes --idle-timeout --grace-timeout --event-timeout
                --body-limit --spare --dev --verbose --log-decisions --help' ;;
        run) options='--engine --type --url --name --timeout --placement --ca --resolve --state --help' ;;
        ps) options='--state --running --json --help' ;;
        send) options='--state --timeout --json --help' ;;
        register) options='--state --engine --module --lazy --trust --tenant --isolation --json --help' ;;
        update | unregister | stop | stats) options='--state --json --help' ;;
        logs) options='--state --follow --lines --level --json --help' ;;
        *) return ;;
    esac
    _muster_value "$previous" && return
    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$cur"))
        return
    fi
    _muster_operands
    case ${COMP_WORDS[1]}:$? in
        logs:* | stats:*) ;;
        ps:0 | send:0 | update:0 | unregister:0 | stop:0) _muster_scopes ;;
        send:1) COMPREPLY=($(compgen -W 'message push sync periodicsync scheduled' -- "$cur")) ;;
        ps:* | send:* | update:* | unregister:* | stop:* | register:0) ;;
        *) _muster_files ;;
    esac
}

complete -F _muster muster
