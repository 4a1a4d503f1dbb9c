-- Keeps the Pods in a dictionary that all workers share, and changes them.
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

local text = require "pods_text"

local M = {}

local dict = ngx.shared.pods
local get = dict.get
local read_number = text.read_number

local MOST_PARTS = 10000
local NUMBERS = { ":version", ":tried", ":next", ":parts", ":unknown", ":empty", ":errors" }
local FULL = "the dictionary is full"
local GONE = "gone"  -- no text of Pods: each of those ends with a newline, or is empty

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
    local pods = entry.kind == "gone" and GONE or (before or "") .. entry.pods
    -- In this order `settle` finds all texts, also if there was no room.
    return not (point(entry.name, serving, version) and put(key, pods)) and FULL or nil
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

-- Begins a change, and gives up one that has not come to its end.
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

-- Gives the version that serves, and the latest that was tried.
function M.tell_version()
    return ("version %d tried %d"):format(get(dict, ":version"), get(dict, ":tried"))
end

-- Reads the first line of a part: four numbers, or nothing.
local function read_head(line)
    local given = { line:match("^change 1 (%d+) (%d+) (%d+) (%d+)$") }
    for place, digits in ipairs(given) do
        given[place] = read_number(digits, 1, math.huge)
    end
    local base, version, part, parts = given[1], given[2], given[3], given[4]
    if base and version and part and parts and part <= parts and parts <= MOST_PARTS then
        return base, version, part, parts
    end
end

-- Takes one part of a change. Gives a status and a line.
function M.take(body)
    local head, entries = text.read(body, { set = true, more = true, gone = true })
    if not head then
        return 400, "refused: " .. entries
    end
    local base, version, part, parts = read_head(head)
    if not base then
        return 400, "refused: line 1 cannot be read"
    end
    local tried = get(dict, ":tried")
    local continues = version == tried and part == get(dict, ":next") and parts == get(dict, ":parts")
    if base ~= get(dict, ":version") or not (part > 1 and continues or part == 1 and version > tried) then
        return 409, "refused: " .. M.tell_version()
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
    return 200, M.tell_version()
end

local function read_state(path)
    local file, why = io.open(path, "rb")
    if not file then
        return nil, why
    end
    local head, entries = text.read(file:read("*a") or "", { set = true })
    file:close()
    local version = head and read_number(head:match("^state 1 (%d+)$") or "", 1, math.huge)
    if not version then
        return nil, path .. ": " .. (head and "line 1 cannot be read" or entries)
    end
    return version, entries
end

-- Loads the state in a file. Gives what is wrong, if anything. After a reload the dictionary is kept: then the file
-- counts only if it is newer, and for sets that the dictionary does not have. Sets that the file lacks stay, as old
-- workers use them.
function M.load(path)
    local version, entries = read_state(path)
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

-- Gives the version that a set has as of `version`, and its text unless that version is `known`; 0 if there is none.
function M.find(name, version, known)
    local at, following = find_versions(name)
    if following > 0 and following <= version then
        at = following
    end
    local pods = at ~= known and get(dict, at .. "/" .. name) or nil
    if pods == GONE then
        return 0
    end
    return at, pods
end

return M
