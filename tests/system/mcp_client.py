"""An MCP client that does what it is told: one JSON line in, one JSON line out.

Usage: mcp_client.py COMMAND [ARGUMENT]...    starts the server and a session with it
Lines: {"list": true} or {"tool": NAME, "arguments": {...}}
"""

import asyncio
import json
import os
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.shared.exceptions import McpError


async def answer(session, asked):
    try:
        if asked.get("list"):
            result = await session.list_tools()
        else:
            result = await session.call_tool(asked["tool"], asked["arguments"])
    except McpError as error:
        return {"error": {"code": error.error.code, "message": error.error.message}}
    return result.model_dump(by_alias=True, mode="json", exclude_none=True)


async def main():
    command, *arguments = sys.argv[1:]
    server = StdioServerParameters(command=command, args=arguments, env=dict(os.environ))
    async with stdio_client(server) as (read, write):
        async with ClientSession(read, write) as session:
            await session.initialize()
            while line := await asyncio.to_thread(sys.stdin.readline):
                print(json.dumps(await answer(session, json.loads(line))), flush=True)


asyncio.run(main())
