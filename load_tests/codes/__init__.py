"""Reading codes in photos: how many of the drawn ones are read, and what it costs a photo without one."""
