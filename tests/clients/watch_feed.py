"""Follows a ledger's revocation feed on NATS and prints every item as one line of JSON.

    pip install nats-py
    python watch_feed.py nats://subscriber:PASSWORD@localhost:4222 --ledger default --after 17

An item's number is its sequence in the stream, so the numbers have no gaps, and "everything up to
number 17" is all that a subscriber has to remember. Live items come on plain subjects, which is the
fastest way to hear them; whenever a number is missing, after every silence, and at the start, the
stream itself is read. So this program either has everything up to a number or says that it has not.

What must not act on something that was revoked has to stop when this says `unknown`.
"""

import argparse
import asyncio
import json
import sys

import nats

SILENCE_MAX = 1.0  # seconds without an item until the stream is asked whether there is none
ANSWER_MAX = 1.0  # seconds that an answer may take
BATCH = 256  # items that one request brings


def say(what):
    print(f"watch_feed: {what}", file=sys.stderr, flush=True)


async def read(client, ledger, after, most=BATCH):
    """The items after a number, in order, as the stream has them; an empty list at its end."""
    inbox = client.new_inbox()
    answers = await client.subscribe(inbox)
    try:
        subject = f"$JS.API.DIRECT.GET.BAILIWICK_{ledger}_REVOCATIONS"
        request = json.dumps({"seq": after + 1, "batch": most})
        await client.publish(subject, request.encode(), reply=inbox)
        items = []
        while len(items) < most:
            answer = await answers.next_msg(timeout=ANSWER_MAX)
            status = (answer.headers or {}).get("Status")
            if status in ("204", "404"):  # the end of the batch; nothing there
                break
            if status:
                raise ConnectionError(f"the stream cannot be read: status {status}")
            items.append(json.loads(answer.data))
        return items
    finally:
        await answers.unsubscribe()


async def follow(client, ledger, after):
    """Every item after a number, in order, each once, for ever."""
    live = await client.subscribe(f"bailiwick.{ledger}.revocation.>")
    last = heard = after  # what was given out, and the highest number that was heard of
    is_known = False  # whether nothing has come after `last`, as far as the stream says
    while True:
        try:
            if not is_known or heard > last:
                items = await read(client, ledger, last)
                is_known = not items
                if not items and heard > last:
                    await asyncio.sleep(0.01)  # heard before it was stored
            else:
                items = [json.loads((await live.next_msg(timeout=SILENCE_MAX)).data)]
                heard = max(heard, items[0]["number"])
                if items[0]["number"] > last + 1:
                    say(f"{last + 1} to {items[0]['number'] - 1} not heard, reading them")
                    continue
        except asyncio.TimeoutError:
            if is_known:
                is_known = False  # silence: ask the stream
            else:
                say(f"unknown what came after {last}: the stream does not answer")
            continue
        except (ConnectionError, nats.errors.Error) as error:
            say(f"unknown what came after {last}: {error or type(error).__name__}")
            is_known = False
            await asyncio.sleep(SILENCE_MAX)
            continue
        for item in items:
            number = item["number"]
            if number <= last:
                continue  # both heard and read
            if number > last + 1:
                say(f"missed {last + 1} to {number - 1}: the stream has them no longer")
            last = number
            heard = max(heard, last)
            yield item


async def main():
    arguments = argparse.ArgumentParser(description="Follows a revocation feed on NATS.")
    arguments.add_argument("url", help="nats://USER:PASSWORD@HOST:PORT")
    arguments.add_argument("--ledger", default="default", help="the ledger's name")
    arguments.add_argument("--after", type=int, default=0, help="the last number that is known")
    given = arguments.parse_args()

    async def on_error(error):
        if isinstance(error, nats.errors.Error):  # others are attempts to connect again
            say(f"{error or type(error).__name__}")

    client = await nats.connect(given.url, max_reconnect_attempts=-1, reconnect_time_wait=0.1,
                                ping_interval=1, error_cb=on_error)
    if given.after > 0:
        known = await read(client, given.ledger, given.after - 1, 1)
        if [item["number"] for item in known] != [given.after]:
            sys.exit(f"watch_feed: the feed has no number {given.after}: start again without --after")
    async for item in follow(client, given.ledger, given.after):
        print(json.dumps(item), flush=True)


asyncio.run(main())
