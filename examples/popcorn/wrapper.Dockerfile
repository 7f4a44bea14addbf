FROM node:24-slim
WORKDIR /popcorn
COPY start.sh popcorn-with-trap.sh ./
ENTRYPOINT ["sh", "start.sh"]
CMD ["sh", "popcorn-with-trap.sh"]
