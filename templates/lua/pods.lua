-- Chooses the Pod for each request, so that Pods come and go without a reload.
-- docs/decisions/026-endpoints-without-a-reload.md has the reasons, the protocol and what this file is trusted with.
--
-- This file is the same on every router. No text from outside is ever run as code, and each line is checked by a
-- pattern that covers all of it. It reads one file, the state beside it, and writes none.
--
-- A set is the Pods of one path. The dictionary has, besides numbers whose keys begin with a colon:
--   <name>            two versions: the text that serves, and the text that will serve once that version is reached
--   <version>/<name>  a text: the Pods of the set, one a line; or that the set is gone
--   :staged/<part>    what a part of the change under way does with which sets
-- A change writes all its texts beside the old ones. Then one number makes all of them serve at once, also if a worker
-- is killed at any moment. What a change leaves is removed after it, or before the next one.
--
-- Values are only written by safe_set: others throw away other keys if the dictionary is full. Even safe_set loses the
-- old value if a longer one has no room: https://github.com/openresty/lua-nginx-module#ngxshareddictset
-- So what serves is only ever replaced by a value of the same length, which needs no room.

local balancer = require "ngx.balancer"

local M = {}

local dict = ngx.shared.pods
local get = dict.get

local HEAVIEST = 1000000
local LONGEST_NAME = 128
local MOST_PARTS = 10000
local LONGEST_NUMBER = 12  -- digits; Lua writes numbers with more than 14 as 1e+14
local NUMBERS = { ":version", ":tried", ":next", ":parts", ":unknown", ":empty", ":errors" }
-- A server of ours that answers 503 and nothing else. From here nginx itself can only answer 500 or 502.
local NO_PODS = "unix:no-pods.sock"
-- As in upstreams_conf.py: below the 5 seconds after which servers of Node.js, Python and Apache close a connection.
local IDLE = 4
local REQUESTS = 1000  -- nginx's own keepalive_requests
local FULL = "the dictionary is full"
local GONE = "gone"  -- no text of Pods: each of those ends with a newline, or is empty

-- Reading ------------------------------------------------------------------------------------------------------------

local function read_number(text, least, most)
    local number = #text <= LONGEST_NUMBER and (text == "0" or text:find("^[1-9]%d*$")) and tonumber(text)
    return number and number >= least and number <= most and number or nil
end

local function is_ipv4(text)
    local parts = { text:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$") }
    for _, part in ipairs(parts) do
        if not read_number(part, 0, 255) then
            return false
        end
    end
    return #parts == 4
end

-- All eight groups are written, in their shortest form: so there is one way to write an address.
local function is_ipv6(text)
    local groups = 0
    for group in (text .. ":"):gmatch("([^:]*):") do
        if #group > 4 or not (group == "0" or group:find("^[1-9a-f][0-9a-f]*$")) then
            return false
        end
        groups = groups + 1
    end
    return groups == 8
end

local function is_peer(line)
    local address, port, weight, rest = line:match("^([0-9a-f.:]+) (%d+) (%d+)(.*)$")
    return address
        and (is_ipv4(address) or is_ipv6(address))
        and read_number(port, 1, 65535)
        and read_number(weight, 1, HEAVIEST)
        and (rest == "" or rest == " backup")
end

local function is_name(text)
    return #text <= LONGEST_NAME and text:find("^[0-9a-f]+%.[0-9a-z-]+$")
end

-- Gives the first line, and what the others name: lists of { kind, name, Pods as text }. Else nil and what is wrong.
local function read(text, kinds)
    local entries, number, head, ended = {}, 0, nil, false
    local lines
    for line in text:gmatch("([^\n]*)\n") do
        number = number + 1
        local kind, name = line:match("^(%l+) (%S+)$")
        if ended then
            return nil, "line " .. number .. " comes after the end"
        elseif not head then
            head = line
        elseif kind == "end" then
            ended = read_number(name, 0, math.huge) == number - 2
            if not ended then
                return nil, "line " .. number .. " counts other lines than there are"
            end
        elseif kinds[kind] and is_name(name) then
            lines = {}
            entries[#entries + 1] = { kind = kind, name = name, lines = lines }
        elseif lines and entries[#entries].kind ~= "gone" and is_peer(line) then
            lines[#lines + 1] = line .. "\n"
        else
            return nil, "line " .. number .. " cannot be read"
        end
    end
    if not ended or text:sub(-1) ~= "\n" then
        return nil, "the end is missing"
    end
    for _, entry in ipairs(entries) do
        entry.pods = table.concat(entry.lines)
    end
    return head, entries
end

-- Writing ------------------------------------------------------------------------------------------------------------

local function put(key, value)
    return dict:safe_set(key, value)
end

-- Both versions have the same length always.
local function point(name, serving, following)
    return put(name, ("%012d%012d"):format(serving, following))
end

-- Gives the two versions of a set: 0 stands for none.
local function find_versions(name)
    local both = get(dict, name)
    if not both then
        return 0, 0
    end
    return tonumber(both:sub(1, 12)), tonumber(both:sub(13))
end

-- Writes the text of a set beside the one that serves. Gives what is wrong, if anything.
local function stage(entry, version)
    if get(dict, ":tried") ~= version then
        return "another change has begun"
    end
    local key = version .. "/" .. entry.name
    local serving, following = find_versions(entry.name)
    local before = following == version and get(dict, key) or nil
    if entry.kind == "more" and (not before or before == GONE) then
        return "set " .. entry.name .. " goes on without a beginning"
    elseif entry.kind ~= "more" and before then
        return "set " .. entry.name .. " is named twice"
    end
    local text = entry.kind == "gone" and GONE or (before or "") .. entry.pods
    -- In this order `settle` finds all texts, also if there was no room.
    return not (point(entry.name, serving, version) and put(key, text)) and FULL or nil
end

-- Removes what the last change left: the old texts if it came to its end, else the new ones.
local function settle()
    local tried = get(dict, ":tried")
    local ended = tried <= get(dict, ":version")
    put(":next", 0)
    for part = 1, get(dict, ":parts") do
        for kind, name in (get(dict, ":staged/" .. part) or ""):gmatch("(%l+) (%S+)\n") do
            local serving, following = find_versions(name)
            if following == tried then  -- else this was done before a worker was killed
                dict:delete((ended and serving or tried) .. "/" .. name)
                if ended and kind ~= "gone" then
                    point(name, tried, 0)
                elseif not ended and serving > 0 then
                    point(name, serving, 0)
                else
                    dict:delete(name)
                    dict:delete(tried .. "/" .. name)
                end
            end
        end
        dict:delete(":staged/" .. part)
    end
    put(":parts", 0)
end

local function begin(version, parts)
    settle()
    put(":tried", version)
    put(":parts", parts)
end

-- Stages one part of a change. Gives what is wrong, if anything.
local function stage_part(entries, version, part)
    local names = {}
    for place, entry in ipairs(entries) do
        names[place] = entry.kind .. " " .. entry.name .. "\n"
    end
    if not put(":staged/" .. part, table.concat(names)) then
        return FULL
    end
    for _, entry in ipairs(entries) do
        local wrong = stage(entry, version)
        if wrong then
            return wrong
        end
    end
end

-- From this moment all texts of the change serve.
local function finish(version)
    put(":version", version)
    settle()
end

local function tell_version()
    return ("version %d tried %d"):format(get(dict, ":version"), get(dict, ":tried"))
end

-- Takes one part of a change. Gives a status and a line.
local function take(text)
    local head, entries = read(text, { set = true, more = true, gone = true })
    if not head then
        return 400, "refused: " .. entries
    end
    local given = { head:match("^change 1 (%d+) (%d+) (%d+) (%d+)$") }
    for place, digits in ipairs(given) do
        given[place] = read_number(digits, 1, math.huge)
    end
    local base, version, part, parts = given[1], given[2], given[3], given[4]
    if not (base and version and part and parts and part <= parts and parts <= MOST_PARTS) then
        return 400, "refused: line 1 cannot be read"
    end
    local tried = get(dict, ":tried")
    local continues = version == tried and part == get(dict, ":next") and parts == get(dict, ":parts")
    if base ~= get(dict, ":version") or not (part > 1 and continues or part == 1 and version > tried) then
        return 409, "refused: " .. tell_version()
    end
    if part == 1 then
        begin(version, parts)
    end
    local wrong = stage_part(entries, version, part)
    if wrong then
        settle()
        return wrong == FULL and 507 or 400, "refused: " .. wrong
    end
    put(":next", part + 1)
    if part < parts then
        return 200, ("part %d of %d"):format(part, parts)
    end
    finish(version)
    return 200, tell_version()
end

-- Answers on the unix socket of the release: the version, or whether a change was taken.
function M.answer()
    local status, line = 405, "refused: only GET and POST are answered"
    local method = ngx.req.get_method()
    if method == "GET" then
        local counts = ("unknown %d empty %d errors %d"):format(
            get(dict, ":unknown"), get(dict, ":empty"), get(dict, ":errors"))
        status, line = 200, ("%s %s free %d"):format(tell_version(), counts, dict:free_space())
    elseif method == "POST" then
        ngx.req.read_body()
        status, line = take(ngx.req.get_body_data() or "")
    end
    ngx.status = status
    ngx.say(line)
end

-- Preloading ---------------------------------------------------------------------------------------------------------

local function read_state()
    local path = package.searchpath("pods", package.path):gsub("pods%.lua$", "pods.state")
    local file, why = io.open(path, "rb")
    if not file then
        return nil, why
    end
    local text = file:read("*a")
    file:close()
    local head, entries = read(text or "", { set = true })
    local version = head and read_number(head:match("^state 1 (%d+)$") or "", 1, math.huge)
    if not version then
        return nil, path .. ": " .. (head and "line 1 cannot be read" or entries)
    end
    return version, entries
end

local function load_state()
    local version, entries = read_state()
    if not version then
        return entries
    end
    for _, key in ipairs(NUMBERS) do
        if not (get(dict, key) or put(key, 0)) then
            return FULL
        end
    end
    if version > get(dict, ":version") then
        begin(version, 1)
        local wrong = stage_part(entries, version, 1)
        if wrong then
            settle()
            return wrong
        end
        finish(version)
        return
    end
    for _, entry in ipairs(entries) do
        local serving, following = find_versions(entry.name)
        local key = version .. "/" .. entry.name
        if serving == 0 and not (put(key, entry.pods) and point(entry.name, version, following)) then
            return FULL
        end
    end
end

-- Reads the state file before there are workers. After a reload the dictionary is kept: then the file counts only if it
-- is newer, and for sets that the dictionary does not have. Sets that the file lacks stay, as old workers use them.
function M.preload()
    local wrong = load_state()
    if wrong then
        ngx.log(ngx.EMERG, "endpoints: ", wrong)
        error("endpoints: " .. wrong, 0)
    end
end

-- Balancing ----------------------------------------------------------------------------------------------------------

local sets = {}  -- what this worker has read, by name

-- A Pod that stays keeps its place in the round, so that many changes do not favour the first Pods.
local function parse(pods, before)
    local set = { primary = {}, backup = {}, by_name = {} }
    for address, port, weight, backup in pods:gmatch("(%S+) (%d+) (%d+) ?(%a*)\n") do
        local host = address:find(":", 1, true) and "[" .. address .. "]" or address
        local name = host .. ":" .. port
        local same = before and before.by_name[name]
        local peer = {
            host = host, port = tonumber(port), weight = tonumber(weight), name = name,
            current = same and same.current or 0,
        }
        local group = set[backup == "" and "primary" or "backup"]
        group[#group + 1] = peer
        set.by_name[name] = peer
    end
    set.size = #set.primary + #set.backup
    return set
end

-- Gives the set of a name, read again if the version has moved and the set has changed; nil if there is none.
local function find_set(name)
    local version = get(dict, ":version")
    local set = sets[name]
    if set and set.seen == version then
        return set
    end
    for _ = 1, 3 do  -- another worker may remove the text after we read its version
        local at, following = find_versions(name)
        if following > 0 and following <= version then
            at = following
        end
        local text = not (set and set.at == at) and get(dict, at .. "/" .. name)
        if at == 0 or text == GONE then
            sets[name] = nil
            return nil
        elseif text then
            set = parse(text, set)
            set.at = at
            sets[name] = set
        end
        if set and set.at == at then
            set.seen = version
            return set
        end
        version = get(dict, ":version")
    end
    error("set " .. name .. " has no text")
end

-- Writes all eight groups of an IPv6 address, as the state has them.
local function expand(address)
    local left, right = address:match("^([^%]]*)::([^%]]*)$")
    if not left then
        return address
    end
    local _, first = left:gsub("%x+", "")
    local _, last = right:gsub("%x+", "")
    local zeros = ("0:"):rep(8 - first - last)
    return (left == "" and "" or left .. ":") .. (right == "" and zeros:sub(1, -2) or zeros .. right)
end

-- Gives the Pods that this request was sent to, from nginx's own list. A colon stands at its end, as the next Pod has
-- no address yet, and before it where a list began anew after an internal redirect:
-- https://nginx.org/en/docs/http/ngx_http_upstream_module.html#var_upstream_addr
local function read_tried(list)
    local tried = {}
    for name in list:gsub(" : $", ""):gsub("^.* : ", ""):gmatch("[^, ]+") do
        local address, port = name:match("^%[(.*)%](:%d+)$")
        tried[address and "[" .. expand(address) .. "]" .. port or name] = true
    end
    return tried
end

-- nginx's own smooth weighted round robin, without Pods that were tried.
local function choose(peers, tried)
    local best, total = nil, 0
    for place = 1, #peers do
        local peer = peers[place]
        if not (tried and tried[peer.name]) then
            peer.current = peer.current + peer.weight
            total = total + peer.weight
            if not best or peer.current > best.current then
                best = peer
            end
        end
    end
    if best then
        best.current = best.current - total
    end
    return best
end

-- As with nginx's own upstreams and max_fails=0, no Pod is left out because of what others met. A second try happens
-- under the rules of proxy_next_upstream, which nginx itself applies, and goes to a Pod that this request has not seen.
local function send(name)
    local set = name and find_set(name)
    if not set then
        dict:incr(":unknown", 1)
        return ngx.exit(ngx.ERROR)
    end
    if set.size == 0 then
        dict:incr(":empty", 1)
        return assert(balancer.set_current_peer(NO_PODS))
    end
    local tried
    if balancer.get_last_failure() then
        tried = read_tried(ngx.var.upstream_addr)
    elseif set.size > 1 then
        balancer.set_more_tries(set.size - 1)  -- proxy_next_upstream_tries bounds it
    end
    -- All were tried if nginx sends a request anew because kept connections were closed. Then it begins again.
    local peer = choose(set.primary, tried) or choose(set.backup, tried) or choose(set.primary) or choose(set.backup)
    assert(balancer.set_current_peer(peer.host, peer.port))
    if balancer.enable_keepalive then
        assert(balancer.enable_keepalive(IDLE, REQUESTS))
    end
end

-- Chooses a Pod of the set `name`, which nginx reads from a variable. A subrequest shares its variables with the request
-- that it belongs to, and so must have one of its own: else it would send that request to its Pods.
function M.balance(name)
    local sent, why = pcall(send, name)
    if not sent then
        dict:incr(":errors", 1)
        ngx.log(ngx.ERR, "endpoints: ", why)
        ngx.exit(ngx.ERROR)
    end
end

return M
