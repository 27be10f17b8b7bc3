-- Remove a hub that goes by itself.
by, seal = ARGV[1], ARGV[2]
remove_hub(by)
return 1
