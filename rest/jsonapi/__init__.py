"""JSON:API 1.1 (https://jsonapi.org/format/1.1/): the same routes and operations, in documents of resource objects.

kinds.py      what a resource is there: type, attributes, relationships
query.py      page[...], filter[...], sort, fields[...] and include, as operations know them
incoming.py   a request's document, as an operation's input
form.py       answers as documents; errors.py: refusals
including.py  related resources that `include` asks for
speaker.py    all of it for one route
"""
