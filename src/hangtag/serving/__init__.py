"""A run as a server: pictures by HTTP, tags as JSON, in a form of its own and in OpenAI's."""
