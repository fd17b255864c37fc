# cli/completion.bash - bash completion of muster; installs as bash-completion/completions/muster.

# The values of an option; false: it is an option without values that could be listed.
_muster_value()
{
    case $1 in
        --engine) COMPREPLY=($(compgen -W 'js lua' -- "$cur")) ;;
        --type) COMPREPLY=($(compgen -W 'dedicated service' -- "$cur")) ;;
        --placement)
            COMPREPLY=($(compgen -W 'thread process process-per-site process-per-worker round-robin random least-loaded power-of-two affinity' -- "$cur")) ;;
        --state) compopt -o filenames; COMPREPLY=($(compgen -d -- "$cur")) ;;
        --listen | --threads | --idle-timeout | --grace-timeout | --event-timeout | --body-limit | --spare | --processes | \
            --name | --timeout) ;;
        *) return 1 ;;
    esac
}

_muster()
{
    local cur=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} options
    local IFS=$' \t\n'
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W 'serve run --help --version' -- "$cur"))
        return
    fi
    case ${COMP_WORDS[1]} in
        serve)
            options='--listen --state --threads --placement --processes --idle-timeout --grace-timeout --event-timeout
                --body-limit --spare --dev --verbose --log-decisions --help' ;;
        run) options='--engine --type --name --timeout --help' ;;
        *) return ;;
    esac
    _muster_value "$previous" && return
    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$cur"))
    else
        compopt -o filenames 2>/dev/null
        IFS=$'\n'
        COMPREPLY=($(compgen -f -- "$cur"))
    fi
}

complete -F _muster muster
