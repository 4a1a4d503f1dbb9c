-- Chooses the Pod for each request, so that Pods come and go without a reload.
-- docs/decisions/026-endpoints-without-a-reload.md has the reasons, the protocol and what this code is trusted with.
--
-- These files are the same on every router. No text from outside is ever run as code. They read one file, the state
-- beside them, and write none.

local balancer = require "ngx.balancer"
local store = require "pods_store"

local M = {}

local dict = ngx.shared.pods
local get = dict.get

-- A server of ours that answers 503 and nothing else. From here nginx itself can only answer 500 or 502.
local NO_PODS = "unix:no-pods.sock"
-- As in upstreams_conf.py: below the 5 seconds after which servers of Node.js, Python and Apache close a connection.
local IDLE = 4
local REQUESTS = 1000  -- nginx's own keepalive_requests

local MOST_SENT = 6  -- two more than the most tries that a path may have
local BUSY = -3  -- nginx's NGX_BUSY, which becomes 502

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
    for _ = 1, 3 do  -- another worker may remove the text after its version was read here
        local at, pods = store.find(name, version, set and set.at)
        if at == 0 then
            sets[name] = nil
            return nil
        elseif pods then
            set = parse(pods, set)
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

-- Gives the Pods that this request was sent to, from nginx's own list, and how often it was sent. A colon stands at the
-- list's end, as the next Pod has no address yet, and before it where a list began anew after an internal redirect:
-- https://nginx.org/en/docs/http/ngx_http_upstream_module.html#var_upstream_addr
local function read_tried(list)
    local tried, number = {}, 0
    for name in list:gsub(" : $", ""):gsub("^.* : ", ""):gmatch("[^, ]+") do
        local address, port = name:match("^%[(.*)%](:%d+)$")
        tried[address and "[" .. expand(address) .. "]" .. port or name] = true
        number = number + 1
    end
    return tried, number
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
-- A failure on a kept connection is no try to nginx, as the Pod may have closed it just then. MOST_SENT bounds those: a
-- Pod that hangs up on a request would get it as often as there are kept connections.
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
    local tried, number
    if balancer.get_last_failure() then
        tried, number = read_tried(ngx.var.upstream_addr)
        if number >= MOST_SENT then
            return ngx.exit(BUSY)
        end
    elseif set.size > 1 then
        balancer.set_more_tries(set.size - 1)  -- proxy_next_upstream_tries bounds it
    end
    -- All were tried if each of them closed a kept connection. Then it begins again.
    local peer = choose(set.primary, tried) or choose(set.backup, tried) or choose(set.primary) or choose(set.backup)
    assert(balancer.set_current_peer(peer.host, peer.port))
    if balancer.enable_keepalive then
        assert(balancer.enable_keepalive(IDLE, REQUESTS))
    end
end

-- Chooses a Pod of the set `name`, which nginx reads from a variable. A subrequest shares variables with the request that
-- it belongs to, and so must have one of its own: else it would send that request to its Pods.
function M.balance(name)
    local sent, why = pcall(send, name)
    if not sent then
        dict:incr(":errors", 1)
        ngx.log(ngx.ERR, "endpoints: ", why)
        ngx.exit(ngx.ERROR)
    end
end

-- Answers on the unix socket of the release: the version, or whether a change was taken.
function M.answer()
    local status, line = 405, "refused: only GET and POST are answered"
    local method = ngx.req.get_method()
    if method == "GET" then
        local counts = ("unknown %d empty %d errors %d"):format(
            get(dict, ":unknown"), get(dict, ":empty"), get(dict, ":errors"))
        status, line = 200, ("%s %s free %d"):format(store.tell_version(), counts, dict:free_space())
    elseif method == "POST" then
        ngx.req.read_body()
        status, line = store.take(ngx.req.get_body_data() or "")
    end
    ngx.status = status
    ngx.say(line)
end

-- Loads the state file, which lies beside this file, before there are workers.
function M.preload()
    local path = package.searchpath("pods", package.path):gsub("pods%.lua$", "pods.state")
    local wrong = store.load(path)
    if wrong then
        ngx.log(ngx.EMERG, "endpoints: ", wrong)
        error("endpoints: " .. wrong, 0)
    end
end

return M
