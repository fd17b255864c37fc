-- The scope "/lua/": the same life cycle, in a language whose workers weigh some tens of kilobytes.

local count = 0

muster.on("fetch", function(event)
    local request = event.request
    local path = request.url:match("^%a+://[^/]*([^?#]*)")

    if path == "/lua/" then
        count = count + 1
        event:respond {
            headers = { ["content-type"] = "text/plain; charset=utf-8" },
            body = ("Hello from %s, for the %d. time\n"):format(_VERSION, count),
        }
    elseif path == "/lua/slow" then
        -- Other requests are answered while this one sleeps.
        muster.sleep(200)
        event:respond { body = "That took 200 ms\n" }
    end
    -- An event that nobody answers passes: the client gets 404.
end)
