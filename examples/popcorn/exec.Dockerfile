FROM node:24-slim
WORKDIR /popcorn
COPY start-with-exec.sh popcorn-with-trap.sh ./
ENTRYPOINT ["sh", "start-with-exec.sh"]
CMD ["sh", "popcorn-with-trap.sh"]
