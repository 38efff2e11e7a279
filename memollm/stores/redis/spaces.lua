-- Which calls have vectors in one space, by their numbers: a key with a hash tag of its own. ARGV: owner, what is to be done,
-- and what that needs. The vectors themselves are kept with their calls.
local call, key, what = redis.call, KEYS[1] .. ':vectors', ARGV[2]
local doing = {}

local function text_of(number)
    return string.format('%.0f', number)
end

-- List calls under numbers that nobody has passed yet; where ARGV[3] says so, only those that are not listed. Return all their
-- numbers. A number is a time, so that a server which has lost its last moments gives none again.
function doing.list()
    local time, last = call('TIME'), call('ZREVRANGE', key, 0, 0, 'WITHSCORES')[2]
    local number, numbers = math.max(time[1] * 1000000 + time[2], tonumber(last or 0)), {}
    for n = 4, #ARGV do
        local known = ARGV[3] == 'new' and call('ZSCORE', key, ARGV[n])
        if not known then
            number = number + 1
            call('ZADD', key, text_of(number), ARGV[n])
        end
        numbers[#numbers + 1] = known and text_of(tonumber(known)) or text_of(number)
    end
    return numbers
end

-- Take calls off the list that are there under the numbers that are told, for so many seconds.
function doing.drop()
    local latest = call('TIME')[1] * 1000000 + 999999 - tonumber(ARGV[3]) * 1000000
    for n = 4, #ARGV, 2 do
        local number = tonumber(call('ZSCORE', key, ARGV[n]) or 0)
        if number == tonumber(ARGV[n + 1]) and number <= latest then
            call('ZREM', key, ARGV[n])
        end
    end
    return 0
end

return doing[what]()
