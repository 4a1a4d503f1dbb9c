-- Reads the text in which nginx gets its Pods. Each line is checked by a pattern that covers all of it.

local M = {}

local HEAVIEST = 1000000
local LONGEST_NAME = 128
local LONGEST_NUMBER = 12  -- digits; Lua writes numbers with more than 14 as 1e+14

-- Gives a number that is written in the only way; nil for anything else.
function M.read_number(text, least, most)
    local number = #text <= LONGEST_NUMBER and (text == "0" or text:find("^[1-9]%d*$")) and tonumber(text)
    return number and number >= least and number <= most and number or nil
end

local function is_ipv4(text)
    local parts = { text:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$") }
    for _, part in ipairs(parts) do
        if not M.read_number(part, 0, 255) then
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
        and M.read_number(port, 1, 65535)
        and M.read_number(weight, 1, HEAVIEST)
        and (rest == "" or rest == " backup")
end

local function is_name(text)
    return #text <= LONGEST_NAME and text:find("^[0-9a-f]+%.[0-9a-z-]+$")
end

-- Gives the first line, and what the others name: lists of { kind, name, Pods as text }. Else nil and what is wrong.
function M.read(text, kinds)
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
            ended = M.read_number(name, 0, math.huge) == number - 2
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

return M
