"""The yardstick: a grpc.aio server on uvloop that answers every call with the same bytes and does nothing."""

import asyncio

import grpc
import uvloop

REPLY = bytes.fromhex("0a0f0a0a534b552d30303030303010051801")


class Echo(grpc.GenericRpcHandler):
    """Every method is the same."""

    def __init__(self) -> None:
        async def reply(request: bytes, context: object) -> bytes:
            return REPLY

        self._handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(reply)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        return self._handler


async def main() -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
