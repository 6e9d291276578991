#!/usr/bin/env bash
# The addon with a switch that makes its system calls fail (faults.cc), as .cache/faults/einhorn.node. Every function that the built
# addon calls and that is not Node's gets the switch, so a new one cannot be forgotten; their names are in .cache/faults/calls.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

folder=.cache/faults
addon=$folder/einhorn.node
mkdir -p "$folder"
if [ -e "$addon" ] && [ -z "$(find native dist/einhorn.node test/setup/faults.cc test/setup/faults.sh -newer "$addon")" ]; then exit 0; fi

# Memory, strings and numbers: they cannot fail, or answer a lack of memory with abort(), which is a crash as any other.
plain='__errno_location|abort|calloc|free|memmove|memcpy|memset|snprintf|sigfillset|str[a-z]+'
# These cannot fail either (their manual pages name no error for what is asked of them).
sure='dl_iterate_phdr|dlsym|getpid|sysconf|umask'
functions=$(nm -D --undefined-only dist/einhorn.node | awk '{print $2}' | grep -vE "^(napi_.*|uv_.*|syscall|$plain|$sure)\$")
# Made directly, for reasons that stand beside them. getpid and its like cannot fail; exit_group does not return.
calls=$(grep -ohE '\bSYS_[a-z0-9_]+' native/*.cc | sort -u | grep -vE '^SYS_(getpid|getppid|gettid|geteuid|getegid|exit_group)$')
printf '%s\n' $functions $calls >"$folder/calls"

wrap=syscall
printf -v wraps -- '-Wl,--wrap=%s ' $functions $wrap
printf -v asFunctions 'WRAP(%s) ' $functions
printf -v asCalls 'S(%s) ' $calls
g++ -O1 -std=c++17 -shared -fPIC -fno-exceptions -fno-rtti -fno-threadsafe-statics -U_FORTIFY_SOURCE \
  -DNAPI_VERSION=8 -DNODE_ADDON_API_DISABLE_CPP_EXCEPTIONS -DNODE_ADDON_API_DISABLE_DEPRECATED \
  -Inode_modules/node-addon-api -Inode_modules/node-api-headers/include \
  "-DFUNCTIONS=$asFunctions" "-DSYSTEM_CALLS=$asCalls" \
  $wraps native/*.cc test/setup/faults.cc -o "$addon.new.$$"
mv "$addon.new.$$" "$addon"
