-- What similar calls leave with one call. Its keys are told in common.lua. ARGV: owner, what is to be done, what the call is as
-- MessagePack, or nothing, and what that needs. What is kept of a match begins with the mark of the call that lends.
local call, base, what, about = redis.call, KEYS[1], ARGV[2], ARGV[3]
local doing = {}

-- Tell whether the call is there, and of a cache; where it is told what it is, it is from now on.
local function is_there()
    if call('HEXISTS', base .. ':call', 'cache') == 0 then
        if about == '' then
            return false
        end
        local key, name, form, made, cache = unpack(cmsgpack.unpack(about))
        call('HSET', base .. ':call', 'key', key, 'function', name, 'form', form, 'made', made, 'cache', cache)
    end
    return true
end

-- Keep a vector where there is none; return whether it was, or nothing where the call is not there.
function doing.learn()
    return is_there() and call('HSETNX', base .. ':e', ARGV[4], ARGV[5])
end

-- Keep what it was given; not where another is there than was read. Return nothing where the call is not there.
function doing.match()
    if not is_there() then
        return false
    end
    if ARGV[6] == '' or call('HGET', base .. ':l', ARGV[4]) == ARGV[6] then
        call('HSET', base .. ':l', ARGV[4], ARGV[5])
    end
    return 1
end

-- Remember whom a sample of it is given, and return its mark, a new one if it has none; nothing where it has no sample.
function doing.lend()
    if call('HLEN', base .. ':s') == 0 then
        return false
    end
    call('HSETNX', base .. ':call', 'lends', ARGV[4])
    for n = 5, #ARGV do
        call('SADD', base .. ':g', ARGV[n])
    end
    return call('HGET', base .. ':call', 'lends')
end

-- Forget what it was given of a call whose mark is gone.
function doing.unmatch()
    for _, shadow in ipairs({'0', '1'}) do
        local kept = call('HGET', base .. ':l', shadow)
        if kept and string.sub(kept, 1, #ARGV[4]) == ARGV[4] then
            call('HDEL', base .. ':l', shadow)
        end
    end
    return 0
end

return doing[what]()
