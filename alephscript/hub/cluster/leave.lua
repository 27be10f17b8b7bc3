-- Remove a hub that goes by itself.
remove_hub(ARGV[1])
return 1
