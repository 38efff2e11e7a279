-- What is kept of the whole cache: counts, documents, budgets, epochs. ARGV: owner, what is to be done, and what that needs.
local call, base, me, what = redis.call, KEYS[1], ARGV[1], ARGV[2]
local doing = {}

-- An id is done once.
local function is_new(id)
    return call('SET', base .. ':a:' .. me .. ':' .. id, 1, 'NX', 'PX', 3600000)
end

function doing.count()
    if not is_new(ARGV[3]) then
        return 0
    end
    for n = 4, #ARGV, 2 do
        local had, more = call('HGET', base .. ':tally', ARGV[n]), cmsgpack.unpack(ARGV[n + 1])
        for m, amount in ipairs(had and cmsgpack.unpack(had) or {}) do
            more[m] = more[m] + amount
        end
        call('HSET', base .. ':tally', ARGV[n], cmsgpack.pack(more))
    end
    return 1
end

-- Keep a document where another, or none, is.
function doing.note()
    local key, name = base .. ':notes:' .. ARGV[3], ARGV[4]
    local there = call('HGET', key, name)
    if there == (#ARGV > 5 and ARGV[6]) then
        call('HSET', key, name, ARGV[5])
        return 1
    end
    return 0
end

-- Charge a program if there is room; an allowance that is none is empty.
function doing.charge()
    local key = base .. ':budget:' .. ARGV[3]
    local had, more = call('GET', key), cmsgpack.unpack(ARGV[5])
    local spent = had and cmsgpack.unpack(had) or {0, 0, 0, 0}
    if call('EXISTS', base .. ':a:' .. me .. ':' .. ARGV[4]) == 1 then
        return {cmsgpack.pack(spent), 1}
    end
    local most_calls, most_cost = tonumber(ARGV[6]), tonumber(ARGV[7])
    if most_calls and spent[1] + more[1] > most_calls
        or most_cost and not (spent[2] < most_cost and spent[2] + spent[3] + more[3] <= most_cost)
    then
        return {cmsgpack.pack(spent), 0}
    end
    is_new(ARGV[4])
    for n = 1, 4 do
        spent[n] = spent[n] + more[n]
    end
    call('SET', key, cmsgpack.pack(spent), 'PX', 2592000000)
    return {cmsgpack.pack(spent), 1}
end

-- Know that there are lists of vectors of these spaces.
function doing.spaces()
    return call('SADD', base .. ':spaces', unpack(ARGV, 3))
end

-- Put calls on the list of all, in order of their making, if the cache is the one that this process has opened.
-- ARGV: ..., by what that is known, then of each call its function, when it was made, and its tag.
function doing.list()
    if call('HGET', base .. ':about', 'id') ~= ARGV[3] then
        -- It would begin anew without a word.
        return redis.error_reply('MMEMPTIED')
    end
    for n = 4, #ARGV, 3 do
        if not call('ZSCORE', base .. ':calls:' .. ARGV[n], ARGV[n + 2]) then
            call('SADD', base .. ':functions', ARGV[n])
            call('ZADD', base .. ':calls:' .. ARGV[n], ARGV[n + 1], ARGV[n + 2])
        end
    end
    return 1
end

-- Note that a load is over.
function doing.loaded()
    call('HSET', base .. ':about', 'loaded', ARGV[3])
    return 1
end

-- Something was replaced or removed: an epoch begins. Return it, and who has not heard of it and is to be waited for.
function doing.epoch()
    local begun = call('INCR', base .. ':epoch')
    call('PUBLISH', string.match(base, '^(.-):{') .. ':told', 'e ' .. begun)
    return begun
end

-- A process has heard of an epoch, and goes by it for so long at most without saying so again. Return the latest one.
function doing.hear()
    local time = call('TIME')
    local upto = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[3])
    call('HSET', base .. ':heard', me, ARGV[4] .. ':' .. string.format('%.0f', upto))
    return tonumber(call('GET', base .. ':epoch') or 0)
end

-- Who goes by an epoch before this one.
function doing.behind()
    local time, behind = call('TIME'), {}
    local moment = time[1] * 1000 + math.floor(time[2] / 1000)
    local heard = call('HGETALL', base .. ':heard')
    for n = 1, #heard, 2 do
        local epoch, upto = string.match(heard[n + 1], '^(%d+):(%d+)$')
        if tonumber(upto) <= moment then
            call('HDEL', base .. ':heard', heard[n])
        elseif heard[n] ~= me and tonumber(epoch) < tonumber(ARGV[3]) then
            behind[#behind + 1] = heard[n]
        end
    end
    return behind
end

return doing[what]()
