"""The headers of every answer, for the asynchronous process."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import headers

_ANSWER = tuple((name.lower().encode(), value.encode()) for name, value in headers.ANSWER)


def added_to(inner: ASGIApp) -> ASGIApp:
    """`inner`, with `headers.ANSWER` on all that it answers, its failures included."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await inner(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_ANSWER]
            await send(message)

        await inner(scope, receive, sent)

    return app
