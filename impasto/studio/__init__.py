"""impasto in the browser, and as a service: a web page, an HTTP API, and a queue that survives whatever happens to its processes.

`server` serves `api` behind `security`. `store` is the data directory: files by id, and a database with the queue. `painter` is the
process that carries out jobs, `previewer` the one that answers at once, `processes` keeps both alive.
"""
